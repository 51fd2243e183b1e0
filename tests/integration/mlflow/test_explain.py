"""Why a score: the worst patch, and the nearest patch of all that the bank remembers, with the image it is from."""

import json
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import numpy as np
import pytest
from PIL import Image

from patchcore._util.files import sha256_of
from patchcore.bank.explanation import Patch
from patchcore.bank.memory_bank import MemoryBank
from patchcore.cli.demo.data import DemoImages, fill_batch
from patchcore.config.workspace import Workspace
from patchcore.errors import Refused
from patchcore.images.decoding import load_rgb
from patchcore.lifecycle.scoring import explain_picture
from patchcore.lifecycle.scoring.explain import explain
from patchcore.lifecycle.scoring.overrides import override
from patchcore.lifecycle.services import Services, open_services
from patchcore.rendering.explanation_sheet import explanation_sheet
from tests.support.scoring import score

Done = CompletedProcess[str]
Run = Callable[..., Done]


@pytest.fixture
def line(cells: DemoImages, tmp_path: Path) -> Path:
    fill_batch(cells.batches[0][-2:], tmp_path / "line")  # defective ones
    (tmp_path / "line" / "broken.png").write_bytes(b"no image")
    return tmp_path / "line"


@pytest.fixture
def services(workspace: Workspace, line: Path) -> Services:
    """A workspace where bank version 1 scored batch `b1`."""
    services = open_services(workspace.root)
    score(services, line, "b1")
    return services


@pytest.fixture
def image(line: Path) -> Path:
    return next(file for file in sorted(line.iterdir()) if file.name != "broken.png")


def test_it_is_the_patch_that_made_the_score_and_the_row_that_brute_force_finds(
    services: Services, image: Path, run: Run
) -> None:
    value = json.loads(run("audit", "explain", "b1", image.name, "--json", "-w", services.workspace.root).stdout)
    bank = MemoryBank.load(services.workspace.bank("cell"), cache=services.workspace.runtime_cache)
    pixels = load_rgb(image, bank.config.extractor.image_size)
    features = bank.extractor.network(pixels[None])[0].astype(np.float64)  # (h, w, D)
    distances = np.linalg.norm(features[:, :, None] - bank.arrays.rows, axis=3)  # (h, w, M)
    row, column = np.unravel_index(distances.min(axis=2).argmax(), distances.shape[:2])
    nearest = int(distances[row, column].argmin())
    assert (value["position"]["row"], value["position"]["column"]) == (row, column)
    assert value["nearest"]["row"] == nearest
    assert value["nearest"]["distance"] == pytest.approx(distances[row, column, nearest], rel=1e-5)
    assert value["score"] == value["score_now"] == value["nearest"]["distance"]
    number, source_row, source_column = bank.arrays.sources[nearest]
    assert (value["nearest"]["path"], value["nearest"]["sha256"]) == tuple(bank.images[number].values())
    place = value["nearest"]["position"]
    assert (place["row"], place["column"]) == (source_row, source_column)
    assert sha256_of(Path(value["nearest"]["file"])) == value["nearest"]["sha256"]
    assert value["picture"] is None


def test_the_row_is_that_of_the_patch_itself_in_its_image(services: Services, image: Path) -> None:
    nearest = explain(services, "b1", image.name).nearest
    bank = MemoryBank.load(services.workspace.bank("cell"), cache=services.workspace.runtime_cache)
    pixels = load_rgb(Path(nearest.file or ""), bank.config.extractor.image_size)
    features = bank.extractor.network(pixels[None])[0]
    place = nearest.position
    np.testing.assert_array_equal(features[place.row, place.column], bank.arrays.rows[nearest.row])


@pytest.mark.parametrize(
    ("patch", "box"),
    [
        (Patch(0, 0, (12, 12)), (0, 0, 25, 25)),
        (Patch(11, 11, (12, 12)), (275, 275, 300, 300)),
        (Patch(1, 2, (28, 28)), (21, 10, 33, 22)),
    ],
)
def test_a_box_is_in_pixels_of_the_original_image(patch: Patch, box: tuple[int, ...]) -> None:
    assert patch.box(300, 300) == box


def test_a_box_of_an_image_that_is_not_square_has_its_proportions() -> None:
    assert Patch(1, 1, (4, 4)).box(400, 200) == (100, 50, 200, 100)


def test_the_picture_shows_both_patches(services: Services, image: Path, tmp_path: Path) -> None:
    value = explain(services, "b1", image.name, output=tmp_path / "new" / "explained.png")
    with Image.open(tmp_path / "new" / "explained.png") as picture:
        pixels = np.asarray(picture.convert("RGB")).astype(int)
    assert value.picture == str(tmp_path / "new" / "explained.png")
    third = pixels.shape[1] // 3
    red, green = (np.abs(pixels - colour).sum(axis=2) == 0 for colour in ((214, 39, 40), (30, 130, 60)))
    assert red[:, :third].any()
    assert red[:, third : 2 * third].any()
    assert green[:, 2 * third :].any()
    assert not green[:, : 2 * third].any()


def test_the_picture_says_which_scoring_it_was_and_what_a_person_decided(
    services: Services, image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[Sequence[str]] = []

    def draw(*arguments: Any) -> Any:
        written.append(arguments[-1])
        return explanation_sheet(*arguments)

    monkeypatch.setattr(explain_picture, "explanation_sheet", draw)
    anomalous = explain(services, "b1", image.name, output=tmp_path / "a.png").anomalous
    override(services, "b1", image.name, anomalous=not anomalous, reason="I can see it")
    explain(services, "b1", image.name, output=tmp_path / "b.png")
    (first, second) = written
    assert first[1].startswith("batch b1, scoring 1, cell, bank version 1, scored 20")
    assert second[:2] == first
    words = "normal" if anomalous else "ANOMALOUS"
    assert f"decided {words}, 20" in second[2]
    assert re.search(r"scored \d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6}Z$", first[1])  # as tables show it
    assert re.search(r", \d{4}-\d\d-\d\d \d\d:", second[2])
    assert second[2].endswith(": I can see it")
    with Image.open(tmp_path / "a.png") as before, Image.open(tmp_path / "b.png") as after:
        assert after.height > before.height


def test_a_normal_image_that_was_taken_away_comes_from_what_dvc_keeps(services: Services, image: Path) -> None:
    before = explain(services, "b1", image.name)
    Path(before.nearest.file or "").unlink()
    after = explain(services, "b1", image.name)
    assert after.nearest.path == before.nearest.path
    assert ".dvc" in Path(after.nearest.file or "").parts
    assert after.nearest.position == before.nearest.position


def test_without_the_normal_image_the_defect_is_shown_alone(
    services: Services, image: Path, run: Run, tmp_path: Path
) -> None:
    file = Path(explain(services, "b1", image.name).nearest.file or "")
    file.unlink()
    shutil.rmtree(services.workspace.root / ".dvc" / "cache")
    words = ("audit", "explain", "b1", image.name, "--output", tmp_path / "a.png", "-w", services.workspace.root)
    value = json.loads(run(*words, "--json").stdout)
    assert (value["nearest"]["file"], value["nearest"]["position"]["box"]) == (None, None)
    assert value["nearest"]["sha256"]
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.size[0] < 1000
    assert "shows the defect alone" in run(*words).stdout


def test_an_image_that_has_no_score_or_is_gone_is_refused(services: Services, image: Path, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="has no score to explain: got an image that failed"):
        explain(services, "b1", "broken.png")
    shutil.move(image, tmp_path / "moved.png")
    with pytest.raises(Refused, match="is not available: got no such file"):
        explain(services, "b1", image.name)
    (tmp_path / "archive").mkdir()
    shutil.move(tmp_path / "moved.png", tmp_path / "archive" / "moved.png")
    value = explain(services, "b1", image.name, folder=tmp_path / "archive")
    assert value.score == value.score_now


def test_a_picture_that_cannot_be_written_is_a_fault(services: Services, image: Path, run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    output = tmp_path / "file" / "a.png"
    done = run("audit", "explain", "b1", image.name, "--output", output, "-w", services.workspace.root)
    assert done.returncode == 1
    assert f"the picture cannot be written to {output}" in done.stderr
