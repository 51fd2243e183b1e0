"""Bottles with real defects and masks, at the parameters that a newcomer gets."""

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from patchcore.config.workspace import Workspace
from tests.support.places import REPOSITORY

BOTTLE = REPOSITORY.parent / "shared" / "data" / "bottle"

pytestmark = pytest.mark.skipif(not BOTTLE.is_dir(), reason=f"no images in {BOTTLE}")


def test_bottles_are_told_apart_and_their_defects_found(
    run: Callable[..., CompletedProcess[str]], tmp_path: Path
) -> None:
    workspace = Workspace(tmp_path / "workspace")
    assert run("init", workspace.root).returncode == 0
    added = json.loads(run("add", "bottle", BOTTLE, "--json", "-w", workspace.root).stdout)
    assert (added["normals"], added["evaluation_images"], added["masks"]) == (209, 83, 63)
    done = run("retrain", "bottle", "--json", "-w", workspace.root)
    value = json.loads(done.stdout)
    assert done.returncode == 0, done.stderr
    assert value["promoted"] is True
    assert value["metrics"]["image_auroc"] >= 0.995
    assert value["metrics"]["pixel_auroc"] >= 0.97
    assert 0.9 <= value["metrics"]["aupro"] <= value["metrics"]["pixel_auroc"]
