"""A workspace that version 0.1.0 worked in, after `patchcore upgrade`: it answers, scores, retrains and verifies."""

import json
from pathlib import Path
from typing import Any

import pytest

from patchcore._util.files import read_json
from patchcore.config.workspace import Workspace
from tests.support.frozen_workspace import facts, unpack
from tests.support.workspaces import Run

BANK_OF_THE_NEXT_RETRAIN = "4c01e00f98e69c9414d7bab3d60f6106ff1bac8f901effe1d03164985d3181d0"
"""The sha256 of the arrays of the bank that version 0.1.0 built when it retrained this workspace."""


@pytest.fixture(scope="module")
def workspace(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """The workspace as it was unpacked; the tests of this module go on with it one after the other."""
    return Workspace(unpack(tmp_path_factory.mktemp("frozen") / "workspace"))


def said(run: Run, workspace: Workspace, *words: object, code: int = 0) -> dict[str, Any]:
    done = run(*words, "--json", "-w", workspace.root)
    assert done.returncode == code, done.stderr
    value: dict[str, Any] = json.loads(done.stdout)
    return value


def scores(batch: dict[str, Any]) -> dict[str, float]:
    return {Path(image["path"]).name: image["score"] for image in batch["images"] if image.get("score") is not None}


@pytest.mark.slow
def test_a_frozen_workspace_is_upgraded_and_used(run: Run, workspace: Workspace) -> None:
    known = facts()
    second = next(each for each in known["scorings"] if each["batch"] == "second")

    # Not upgraded yet: questions are answered, stages do not run.
    assert said(run, workspace, "audit", "batch", "second")["bank_sha256"] == second["bank_sha256"]
    assert said(run, workspace, "retrain", "cell", code=3)["error"]["code"] == "workspace-outdated"

    changes = said(run, workspace, "upgrade")
    assert [file["path"] for file in changes["files"]] == ["patchcore", "dvc.yaml", ".gitignore"]
    assert said(run, workspace, "upgrade")["files"] == []
    verified = said(run, workspace, "audit", "verify")
    assert (verified["ok"], verified["records"], verified["head"]) == (
        True,
        known["ledger"]["records"],
        known["ledger"]["head"],
    )

    for scoring in known["scorings"]:
        answer = said(run, workspace, "audit", "batch", scoring["batch"], "--scoring", scoring["scoring"])
        for key in ("bank_version", "bank_sha256", "dataset_version", "threshold", "scored_at"):
            assert answer[key] == scoring[key], (scoring["batch"], key)
        assert scores(answer) == scores(scoring)
    for bank in known["banks"]:
        answer = said(run, workspace, "audit", "bank", "cell", bank["bank_version"])
        assert answer["bank_sha256"] == bank["bank_sha256"]

    again = said(run, workspace, "score", "cell", workspace.root / "line/second", "--batch", "third")
    assert again["bank_sha256"] == second["bank_sha256"]
    assert scores(again) == pytest.approx(scores(second), rel=1e-5)

    retrained = said(run, workspace, "retrain", "cell")
    assert (retrained["bank_version"], retrained["dataset_version"], retrained["promoted"]) == (3, 3, True)
    files = read_json(workspace.bank("cell") / "bank.json")["files"]
    assert files["arrays.safetensors"] == BANK_OF_THE_NEXT_RETRAIN
    assert said(run, workspace, "audit", "verify")["ok"]
