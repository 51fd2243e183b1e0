"""Questions about the past through the command line, over two banks and two batches of real cells."""

import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from patchcore._util.files import read_json, sha256_of
from patchcore.cli.demo.data import DemoImages
from patchcore.config.workspace import Workspace
from tests.support.errors import line_of

Done = CompletedProcess[str]
Run = Callable[..., Done]
Ask = Callable[..., dict[str, Any]]


@pytest.fixture
def ask(grown: tuple[Workspace, list[Done]], run: Run) -> Ask:
    def answer(*question: object) -> dict[str, Any]:
        done = run("audit", *question, "--json", "-w", grown[0].root)
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("\n") == 1
        value: dict[str, Any] = json.loads(done.stdout)
        return value

    return answer


@pytest.mark.parametrize(("batch", "version", "normals"), [("first", 1, 24), ("second", 2, 30)])
def test_batch_says_which_bank_scored_it_and_which_data_that_came_from(
    ask: Ask, grown: tuple[Workspace, list[Done]], batch: str, version: int, normals: int
) -> None:
    value = ask("batch", batch)
    scored = json.loads(grown[1][0 if batch == "first" else 3].stdout)
    assert value["bank_version"] == value["dataset_version"] == version
    for key in ("bank_sha256", "threshold", "scored_at", "images", "received", "who", "runtime", "code_version"):
        assert value[key] == scored[key]
    assert value["bank"]["sha256"] == value["bank_sha256"]
    assert (value["dataset"]["number"], value["dataset"]["normals"]) == (version, normals)
    assert value["dataset"]["sha256"] == value["bank"]["dataset_sha256"]
    assert "md5:" in value["dataset"]["pointers"]["data/cell/train.dvc"]
    assert (value["promotion"]["action"], value["promotion"]["to_version"]) == ("promote", version)
    assert value["promotion"]["at"] < value["scored_at"]


def test_image_finds_every_scoring_by_digest_or_by_file(ask: Ask, cells: DemoImages) -> None:
    file = cells.batches[0][0]
    value = ask("image", file)
    (record,) = value["records"]
    assert (record["batch"], record["bank_version"], record["sha256"]) == ("first", 1, sha256_of(file))
    assert Path(record["path"]).name == file.name
    assert ask("image", sha256_of(file).upper()) == value
    assert ask("image", sha256_of(cells.new[0])) == {
        "sha256": sha256_of(cells.new[0]),
        "records": [],
        "archives_missing": [],
    }


def test_bank_lists_what_a_recall_needs(ask: Ask) -> None:
    for version, batch in ((1, "first"), (2, "second")):
        value = ask("bank", "cell", version)
        assert [record["batch"] for record in value["batches"]] == [batch]
        assert [entry["action"] for entry in value["decisions"]] == ["promote"]
        assert (value["bank_version"], value["dataset_version"]) == (version, version)


def test_bank_shows_the_certificate_of_its_cover(ask: Ask, grown: tuple[Workspace, list[Done]], run: Run) -> None:
    first, second = (ask("bank", "cell", version)["certificate"] for version in (1, 2))
    assert (first["arrivals"], first["rows_added"], first["rows_merged"]) == (1, 0, 0)
    assert second == {name: read_json(grown[0].build_metrics("cell"))["coreset"][name] for name in second}
    assert (second["arrivals"], second["radius"]) == (2, first["radius"])
    assert second["rows"] == first["rows"] + second["rows_added"] > first["rows"]
    said = run("audit", "bank", "cell", 2, "-w", grown[0].root).stdout
    assert f"{second['rows']} ({second['rows_added']} added to the first, 0 merged)" in said
    assert f"{second['radius']:.4f} of a row, all {second['patches']} patches of 2 arrivals" in said


def test_bank_is_fetched_for_its_certificate_only_when_asked(workspace: Workspace, run: Run) -> None:
    shutil.rmtree(workspace.bank_cache)

    def certificate(*options: str) -> dict[str, Any] | None:
        done = run("audit", "bank", "cell", 1, "--json", *options, "-w", workspace.root)
        assert done.returncode == 0, done.stderr
        value: dict[str, Any] | None = json.loads(done.stdout)["certificate"]
        return value

    assert certificate() is None
    assert certificate("--fetch") == certificate() is not None
    shutil.rmtree(workspace.bank_cache)
    shutil.rmtree(workspace.registry_artifacts)
    assert certificate("--fetch") is None


def test_a_normal_image_leads_to_its_banks_and_the_batches_that_they_scored(
    ask: Ask, grown: tuple[Workspace, list[Done]]
) -> None:
    roles = set()
    for file in sorted(grown[0].good_normals("cell").iterdir()):
        value = ask("normal", file)
        (membership,) = value["memberships"]
        assert membership["path"] == grown[0].relative(file)
        versions = [bank["bank_version"] for bank in value["banks"]]
        assert versions == ([1, 2] if membership["first"] == 1 else [2])
        assert [bank["batches"][0]["batch"] for bank in value["banks"]] == ["first", "second"][-len(versions) :]
        roles |= {(membership["first"], bank["role"], bank["rows"] > 0) for bank in value["banks"]}
    assert (1, "remembered", True) in roles
    assert (1, "calibration", False) in roles
    assert any(first == 2 for first, _, _ in roles)


def test_a_batch_is_complete_until_one_of_its_files_changes(
    grown: tuple[Workspace, list[Done]], run: Run, tmp_path: Path
) -> None:
    def completeness(folder: Path) -> Done:
        return run("audit", "completeness", "first", "--folder", folder, "-w", grown[0].root)

    folder = Path(shutil.copytree(grown[0].root.parent / "first", tmp_path / "first"))
    assert completeness(folder).returncode == 0
    file = sorted(folder.iterdir())[0]
    file.write_bytes(file.read_bytes() + b" ")
    done = completeness(folder)
    assert (done.returncode, file.name in done.stderr, "NOT complete" in done.stdout) == (3, True, True)


def test_at_says_what_was_in_production(ask: Ask, grown: tuple[Workspace, list[Done]], run: Run) -> None:
    first = ask("bank", "cell", 1)["decisions"][0]["at"]
    second = ask("bank", "cell", 2)["decisions"][0]["at"]
    between = ask("at", "cell", first)
    assert (between["bank_version"], between["since"], between["until"]) == (1, first, second)
    after = ask("at", "cell", second)
    assert (after["bank_version"], after["since"], after["until"]) == (2, second, None)
    just_before = datetime.fromisoformat(second) - timedelta(microseconds=1)
    assert ask("at", "cell", just_before.isoformat())["bank_version"] == 1
    assert ask("at", "cell", just_before.replace(tzinfo=None).isoformat())["bank_version"] == 1  # UTC
    shown = run("audit", "at", "cell", second, "-w", grown[0].root).stdout
    assert all(words in shown for words in ("bank version", "until", "now", second.replace("T", " ")))
    done = run("audit", "at", "cell", "2020-01-01T00:00", "--json", "-w", grown[0].root)
    assert done.returncode == 3
    assert "no bank in production" in line_of(json.loads(done.stdout)["error"])


def test_verify_of_a_whole_ledger_is_ok(ask: Ask) -> None:
    value = ask("verify")
    assert (value["ok"], value["problems"]) == (True, [])
    assert value["records"] > 2 * 8  # at least every image
    assert len(value["head"]) == 64


def test_verify_names_what_was_changed_and_exits_with_3(workspace: Workspace, run: Run) -> None:
    with closing(sqlite3.connect(workspace.ledger)) as database, database:
        database.executescript("DROP TRIGGER banks_no_update; UPDATE banks SET sha256 = 'x' WHERE version = 1")
    done = run("audit", "verify", "--json", "-w", workspace.root)
    value = json.loads(done.stdout)
    assert (done.returncode, value["ok"]) == (3, False)
    assert any("banks_no_update" in problem for problem in value["problems"])
    assert done.stderr.splitlines()[-1].startswith("error: the ledger failed verification")


@pytest.mark.parametrize(
    ("question", "code", "words"),
    [
        (("batch", "4711"), 3, "no batch '4711' in the ledger"),
        (("bank", "cell", "9"), 3, "the ledger has no bank version 9 of cell"),
        (("bank", "bottle", "1"), 3, "the ledger has no bank version 1 of bottle"),
        (("image", "nowhere.png"), 2, "nowhere.png is not an image"),
        (("at", "cell", "yesterday"), 2, "'yesterday' is not a time"),
    ],
)
def test_a_question_without_an_answer_gets_one_clear_line(
    promoted: Workspace, run: Run, question: tuple[str, ...], code: int, words: str
) -> None:
    done = run("audit", *question, "-w", promoted.root)
    assert done.returncode == code
    assert done.stdout == ""
    assert done.stderr.startswith(f"error: {words}")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("question", "shown"),
    [
        (("batch", "first"), ("batch first", "24 normal images", "tester: retrained")),
        (("bank", "cell", "2"), ("second", "promote", "decisions")),
        (("verify",), ("records, head", ": sound")),
    ],
)
def test_a_person_sees_a_table(
    grown: tuple[Workspace, list[Done]], run: Run, question: tuple[str, ...], shown: tuple[str, ...]
) -> None:
    done = run("audit", *question, "-w", grown[0].root)
    assert (done.returncode, "error" in done.stderr) == (0, False)
    assert all(words in done.stdout for words in shown), done.stdout
