import os
from pathlib import Path
from unittest.mock import patch

import pytest

from patchcore.cli.app import run
from patchcore.cli.demo.story import play
from patchcore.cli.demo.data import choose_images, drop_new, lay_out
from patchcore.errors import Fault
from patchcore.images.decoding import list_images
from patchcore.images.facts import describe
from patchcore.config.workspace import Workspace
from patchcore.dataset.manifest import scan


def test_no_cell_is_in_two_places_and_none_of_the_evaluation_is_left_out() -> None:
    images = choose_images("mono", seed=0)
    parts = [images.first, images.new, *images.evaluation.values(), *images.batches]
    every = [path for part in parts for path in part]
    assert len(every) == len(set(every)) == 588 + 56 + 313  # normal cells, and those of probability 2/3 and 1
    assert len(images.first) == 200
    assert len(images.new) == 60
    assert [len(batch) for batch in images.batches] == [24, 24]


def test_another_seed_is_another_split() -> None:
    assert set(choose_images("mono", seed=0).first) != set(choose_images("mono", seed=1).first)
    assert choose_images("mono", seed=3).first == choose_images("mono", seed=3).first


def test_the_layout_is_a_category(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    lay_out(choose_images("mono", seed=0), workspace.category("solar"))
    manifest = scan(workspace, "solar")
    assert len(manifest.normals) == 200
    assert {entry.label for entry in manifest.evaluation} == {"good", "probably_defective", "defective"}


def test_four_of_the_dropped_files_are_no_good(tmp_path: Path) -> None:
    images = choose_images("mono", seed=0)
    drop_new(images, tmp_path)
    facts = {path.name: describe(path) for path in list_images(tmp_path)}
    assert len(facts) == 64
    assert not facts["truncated.png"].decodable
    assert not facts["not_an_image.png"].decodable
    assert facts["wrong_size.png"].width == 200
    assert facts["copy_of_an_old_one.png"].sha256 == describe(images.first[0]).sha256


def test_a_folder_of_somebody_else_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "thesis.txt").write_text("years of work", encoding="utf-8")
    assert run(["demo", str(tmp_path)]) == 3
    assert capsys.readouterr().err.startswith("error: ")
    assert (tmp_path / "thesis.txt").read_text(encoding="utf-8") == "years of work"


def test_the_services_of_a_plant_are_out_of_reach(tmp_path: Path) -> None:
    plant = {
        "MLFLOW_TRACKING_URI": "http://plant:5000",
        "MLFLOW_REGISTRY_URI": "http://plant:5000",
        "PATCHCORE_LEDGER_URL": "postgresql://plant/ledger",
        "PATCHCORE_WORKSPACE": "/plant",
        "PREFECT_API_URL": "http://plant:4200/api",
        "PREFECT_API_KEY": "key of the plant",
        "PREFECT_HOME": "/plant/prefect",
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": "postgresql://plant/prefect",
    }
    seen: list[dict[str, str]] = []

    def look(_: list[str]) -> int:
        seen.append(dict(os.environ))
        return 1

    with patch.dict(os.environ, plant), pytest.raises(Fault, match="patchcore init failed in the demo"):
        play(tmp_path / "demo", look)
    (environment,) = seen
    assert not set(environment.values()) & set(plant.values())
    assert environment["PATCHCORE_WORKSPACE"] == str(tmp_path / "demo" / "workspace")
