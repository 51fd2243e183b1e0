"""The life of a small category, step by step: what each command is killed in the middle of."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from patchcore.config.workspace import Workspace
from tests.acceptance.kill.harness import Zygote, add_git_hooks, counting
from tests.acceptance.kill.state import CATEGORY
from tests.acceptance.kill.zygote import LEARN

Draw = Callable[..., NDArray[np.uint8]]
Copy = Callable[[Workspace, Path], Workspace]

_SMALL = {
    "size: 224": "size: 96",
    "normals_at_least: 10  ": "normals_at_least: 3  ",
    "defects_at_least: 10": "defects_at_least: 3",
    "coreset_ratio: 0.01": "coreset_ratio: 0.05",
    "held_out_share: 0.2": "held_out_share: 0.4",
    "runtime: auto": "runtime: torch",
    "parity_images: 16": "parity_images: 0",
    "example_heatmaps: 8": "example_heatmaps: 2",
    "image_auroc_at_least: 0.9": "image_auroc_at_least: 0.0",
    "pixel_auroc_at_least: 0.9": "pixel_auroc_at_least: 0.0",
    "aupro_at_least: 0.8": "aupro_at_least: 0.0",
    "image_auroc_drop_at_most: 0.01": "image_auroc_drop_at_most: 1.0",
    "pixel_auroc_drop_at_most: 0.01": "pixel_auroc_drop_at_most: 1.0",
    "aupro_drop_at_most: 0.02": "aupro_drop_at_most: 1.0",
}


@dataclass(frozen=True)
class Scenario:
    """A command, and the workspace that it is run in.

    Attributes:
        name: of the scenario.
        words: the command.
        before: the workspace; it is never changed, but copied.
    """

    name: str
    words: tuple[str, ...]
    before: Workspace


def live(zygote: Zygote, folder: Path, draw: Draw, copy: Copy) -> Iterator[Scenario]:
    """Live through a category's first weeks, and yield each command that is worth a kill before it is run."""
    workspace = _begin(zygote, folder, draw)
    _drop(workspace, draw)
    _batch(folder / "batch", draw)
    steps = (
        ("ingest", ("ingest", CATEGORY)),
        ("retrain", ("retrain", CATEGORY)),
        ("score", ("score", CATEGORY, str(folder / "batch"), "--batch", "first")),
        ("rollback", ("rollback", CATEGORY, "--reason", "it missed a crack")),
        ("promote", ("promote", CATEGORY, "2", "--reason", "it did not")),
        ("withdraw", ("withdraw", CATEGORY, "new1.png", "--reason", "a crack")),
    )
    for name, words in steps:
        scenario = Scenario(name, words, copy(workspace, folder / name))
        yield scenario
        if name == "retrain":
            yield _second_half(zygote, scenario, folder, copy)
        _done(zygote, workspace, *words)


def _second_half(zygote: Zygote, retrain: Scenario, folder: Path, copy: Copy) -> Scenario:
    """Return a retrain whose bank is built, and that was killed when it was about to register it."""
    workspace, log = copy(retrain.before, folder / "register"), folder / "register.log"
    words = (*retrain.words, "--workspace", str(workspace.root))
    at = counting(workspace, log, "=mlflow.db: INSERT INTO RUNS")
    ended = zygote.run("command", words, workspace.root, at)
    assert ended.code == -9, ended.said
    return Scenario("register", retrain.words, workspace)


def _begin(zygote: Zygote, folder: Path, draw: Draw) -> Workspace:
    """Make a workspace with bank version 1 in production."""
    workspace, pictures = Workspace(folder / "workspace"), folder / "pictures"
    for number in range(12):
        _save(pictures / f"train/good/{number:02}.png", draw(number))
    for number in range(3):
        _save(pictures / f"test/good/{number}.png", draw(100 + number))
        _save(pictures / f"test/scratch/{number}.png", draw(200 + number, scratch=True))
    workspace.root.mkdir()
    _done(zygote, workspace, "init", str(workspace.root))
    text = workspace.params.read_text()
    for old, new in _SMALL.items():
        assert old in text, old
        text = text.replace(old, new)
    workspace.params.write_text(text)
    _done(zygote, workspace, "add", CATEGORY, str(pictures))
    _done(zygote, workspace, "retrain", CATEGORY)
    add_git_hooks(workspace)
    return workspace


def _drop(workspace: Workspace, draw: Draw) -> None:
    """Three good images, a copy of an old one, and a file that is no image."""
    drop = workspace.drop(CATEGORY)
    for number in range(3):
        _save(drop / f"new{number}.png", draw(300 + number))
    shutil.copy(workspace.good_normals(CATEGORY) / "03.png", drop / "copy.png")
    (drop / "text.png").write_text("The camera was offline.\n")


def _batch(folder: Path, draw: Draw) -> None:
    """Two good images, one with a scratch, one that cannot be read."""
    for number in range(2):
        _save(folder / f"good{number}.png", draw(400 + number))
    _save(folder / "scratch.png", draw(402, scratch=True))
    (folder / "torn.png").write_bytes((folder / "scratch.png").read_bytes()[:500])


def _done(zygote: Zygote, workspace: Workspace, *words: str) -> None:
    ended = zygote.run("command", words, workspace.root, {LEARN: str(workspace.root.parent / "learned")})
    assert ended.code == 0, ended.said


def _save(path: Path, pixels: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
