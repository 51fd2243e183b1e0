"""Drawn parts with masks, at the parameters that a newcomer gets."""

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from patchcore.config.workspace import Workspace
from tests.support.washers import draw_washers


@pytest.mark.slow
def test_faulty_washers_are_told_from_good_ones_and_their_faults_are_found(
    run: Callable[..., CompletedProcess[str]], tmp_path: Path
) -> None:
    workspace = Workspace(tmp_path / "workspace")
    assert run("init", workspace.root).returncode == 0
    source = draw_washers(tmp_path / "washers", normals=60, good=20, faulty=10)
    added = json.loads(run("add", "washer", source, "--json", "-w", workspace.root).stdout)
    assert (added["normals"], added["evaluation_images"], added["masks"]) == (60, 50, 30)
    done = run("retrain", "washer", "--json", "-w", workspace.root)
    value = json.loads(done.stdout)
    assert done.returncode == 0, done.stderr
    assert value["promoted"] is True
    assert value["metrics"]["image_auroc"] >= 0.995
    assert value["metrics"]["pixel_auroc"] >= 0.97
    assert 0.8 <= value["metrics"]["aupro"] <= value["metrics"]["pixel_auroc"]
