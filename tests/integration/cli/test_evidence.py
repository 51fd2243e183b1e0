"""What makes the ledger's answers hold, by the command line over real banks and batches: verify, anchor, export."""

import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from patchcore._util.files import read_json, sha256_of
from patchcore.adapters.ledger.exports import columns_of
from patchcore.config.workspace import Workspace
from patchcore.evidence.export_tables import read_table, write_table
from patchcore.evidence.hash_chain import digest, link_hash
from patchcore.evidence.merkle import Tree, root_from
from patchcore.lifecycle.services import open_services
from tests.support.errors import line_of
from tests.support.tampering import Owner

Done = CompletedProcess[str]
Run = Callable[..., Done]
Say = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture
def lived(
    grown: tuple[Workspace, list[Done]], copy: Callable[[Workspace, Path], Workspace], tmp_path: Path
) -> Workspace:
    """A workspace with two banks and two batches, to be changed."""
    return copy(grown[0], tmp_path / "workspace")


@pytest.fixture
def say(lived: Workspace, run: Run) -> Say:
    """Ask the ledger something, and return the exit code and the answer."""

    def answer(*question: object) -> tuple[int, dict[str, Any]]:
        done = run("audit", *question, "--json", "-w", lived.root)
        value: dict[str, Any] = json.loads(done.stdout)
        return done.returncode, value

    return answer


def test_a_sound_ledger_and_its_banks_are_verified(say: Say) -> None:
    code, value = say("verify")
    assert (code, value["ok"], value["problems"], value["notes"], value["first_bad"]) == (0, True, [], [], None)
    assert value["records"] > 20
    assert len(value["head"]) == len(value["root"]) == 64


def test_an_altered_score_is_found_and_its_record_named(say: Say, lived: Workspace) -> None:
    owner = Owner(f"sqlite:///{lived.ledger}")
    ((sequence,),) = owner.rows("SELECT max(sequence) FROM images WHERE anomalous = 1")
    owner.run(f"UPDATE images SET anomalous = 0 WHERE sequence = {sequence}")  # noqa: S608
    code, value = say("verify", "--no-banks")
    assert (code, value["ok"], value["first_bad"]) == (3, False, sequence)
    assert value["problems"] == [f"record {sequence}: its content in images was altered"]


def test_a_guard_that_was_taken_away_is_missed(say: Say, lived: Workspace) -> None:
    with closing(sqlite3.connect(lived.ledger)) as database:
        database.execute("DROP TRIGGER images_no_update")
    code, value = say("verify", "--no-banks")
    assert code == 3
    assert value["problems"] == ["guard images_no_update is missing: the database would allow changes"]


def test_a_bank_that_was_swapped_in_the_registry_is_found(say: Say, lived: Workspace) -> None:
    banks = sorted(lived.registry_artifacts.rglob("bank.json"))
    assert len(banks) == 2
    shutil.copytree(banks[0].parent, banks[1].parent, dirs_exist_ok=True)
    code, value = say("verify")
    assert code == 3
    (problem,) = value["problems"]
    assert "is not the one that was recorded" in problem
    assert say("verify", "--no-banks")[0] == 0


def test_an_anchor_stands_in_git_in_mlflow_and_in_a_file_and_betrays_a_tail_that_was_cut_off(
    say: Say, lived: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "anchors.jsonl"
    monkeypatch.setenv("PATCHCORE_ANCHOR_FILE", str(file))
    code, value = say("anchor")
    assert code == 0
    assert value["places"] == ["MLflow, cell", f"git tag patchcore-ledger-{value['size']}", str(file)]
    assert say("anchor")[1]["size"] == value["size"]  # nothing came since: the same anchor, once
    (line,) = file.read_text().splitlines()
    services = open_services(lived.root)
    assert services.versioning.tags("patchcore-ledger-")[f"patchcore-ledger-{value['size']}"] == line
    assert services.registry.note("cell", "patchcore.ledger_head") == line
    assert json.loads(line)["head"] == value["head"]
    assert say("verify", "--no-banks")[0] == 0

    cut = value["size"] - 3
    owner = Owner(f"sqlite:///{lived.ledger}")
    tables = ("checkpoints", "overrides", "images", "events", "decisions", "batches", "chain")
    owner.run(*(f"DELETE FROM {table} WHERE sequence > {cut}" for table in tables))  # noqa: S608
    for places in (["git tag", "MLflow", str(file)], ["git tag", "MLflow"]):
        code, value = say("verify", "--no-banks")
        assert (code, value["first_bad"]) == (3, cut + 1)
        for place in places:
            assert any(place in problem for problem in value["problems"])
        monkeypatch.delenv("PATCHCORE_ANCHOR_FILE", raising=False)


def test_a_folder_of_anchors_gets_a_file_for_each(
    say: Say, lived: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = tmp_path / "write once"
    folder.mkdir()
    monkeypatch.setenv("PATCHCORE_ANCHOR_FILE", str(folder))
    first = say("anchor")[1]
    open_services(lived.root).ledger.record_event("cell", "ingest", {}, who="ann")
    second = say("anchor")[1]
    names = [f"{value['size']:012}.json" for value in (first, second)]
    assert sorted(file.name for file in folder.iterdir()) == names
    assert say("verify", "--no-banks")[0] == 0


def test_a_place_that_cannot_be_written_is_told_and_the_others_are(
    say: Say, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATCHCORE_ANCHOR_FILE", str(tmp_path / "no folder" / "anchors.jsonl"))
    code, value = say("anchor")
    assert code == 1
    assert len(value["places"]) == 2
    assert "no folder" in value["failures"][0]


@pytest.mark.parametrize("form", ["parquet", "csv"])
def test_an_export_is_verified_without_a_ledger_and_a_forged_one_is_found(
    form: str, say: Say, run: Run, lived: Workspace, tmp_path: Path
) -> None:
    folder = tmp_path / "export"
    code, value = say("export", folder, *(["--csv"] if form == "csv" else []))
    assert code == 0
    assert value["records"]["images"] == 16
    assert run("audit", "export", folder, "-w", lived.root).returncode == 3  # never over something that is there
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    verified = json.loads(run("audit", "verify", "--file", folder, "--json", "-w", elsewhere).stdout)
    assert verified["ok"]
    assert verified["records"] == verified["checked"] == value["checkpoint"]["sequence"]

    (folder / f"images.{form}").write_bytes((folder / f"images.{form}").read_bytes() + b"\n")
    done = run("audit", "verify", "--file", folder, "--json", "-w", elsewhere)
    assert "was altered after it was exported" in json.loads(done.stdout)["problems"][0]
    _forge(folder, f"images.{form}", lambda row: {**row, "score": (row["score"] or 0) + 1e-12})
    done = run("audit", "verify", "--file", folder, "--json", "-w", elsewhere)
    assert done.returncode == 3
    assert "its content in images was altered" in json.loads(done.stdout)["problems"][0]


def test_a_batch_is_exported_with_all_that_it_rests_on_and_a_path_to_the_checkpoint(
    say: Say, run: Run, lived: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    anchors = tmp_path / "anchors.jsonl"
    monkeypatch.setenv("PATCHCORE_ANCHOR_FILE", str(anchors))
    say("anchor")
    folder = tmp_path / "first"
    _, value = say("export", folder, "--batch", "first")
    assert {kind: value["records"][kind] for kind in ("batches", "images", "banks", "datasets")} == {
        "batches": 1,
        "images": 8,
        "banks": 1,
        "datasets": 1,
    }
    assert value["records"]["members"] == 24 + 12
    check = ("audit", "verify", "--file", folder, "--anchor", anchors, "--json", "-w", tmp_path)
    assert json.loads(run(*check).stdout)["ok"]

    _forge(folder, "images.parquet", lambda row: row if row["anomalous"] == 0 else None)
    done = run(*check)
    assert done.returncode == 3
    assert "its content in 'images' was altered, or is missing" in done.stdout

    shutil.rmtree(folder)
    say("export", folder, "--batch", "first")
    _forge(folder, "chain.parquet", lambda row: {**row, "hash": row["hash"][::-1]})
    done = run(*check)
    assert done.returncode == 3
    assert "not a record that the checkpoint covers" in done.stdout
    assert run("audit", "export", tmp_path / "none", "--batch", "nobody", "-w", lived.root).returncode == 3


def test_an_export_holds_archived_images_too(say: Say, run: Run, tmp_path: Path) -> None:
    say("archive", "--before", "2999-01-01")
    for name, options in (("whole", ()), ("part", ("--batch", "first"))):
        code, value = say("export", tmp_path / name, *options)
        assert (code, value["records"]["images"]) == (0, 8 if options else 16)
        assert json.loads(run("audit", "verify", "--file", tmp_path / name, "--json", "-w", tmp_path).stdout)["ok"]


@pytest.mark.parametrize(
    ("table", "change", "words"),
    [
        ("images", lambda row: None, "of which 0 are in the export"),
        ("batches", lambda row: None, "there is no batch"),
        ("banks", lambda row: None, "which scored it, is missing"),
        ("members", lambda row: row if row["sequence"] % 2 else None, "of which"),
        ("decisions", lambda row: [{**row, "reason": "approved by the customer"}, row], "occurs twice"),
    ],
)
def test_what_was_left_out_of_a_part_or_put_into_it_is_found(
    table: str, change: Any, words: str, say: Say, run: Run, tmp_path: Path
) -> None:
    folder = tmp_path / "part"
    say("export", folder, "--batch", "first")
    gone = _forge(folder, f"{table}.parquet", change)
    _forge(folder, "chain.parquet", lambda row: None if row["sequence"] in gone else row)
    done = run("audit", "verify", "--file", folder, "--json", "-w", tmp_path)
    assert done.returncode == 3
    assert words in "; ".join(json.loads(done.stdout)["problems"])


def test_an_export_is_held_against_an_anchor_of_any_earlier_day(
    say: Say, run: Run, lived: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    anchors = tmp_path / "anchors.jsonl"
    monkeypatch.setenv("PATCHCORE_ANCHOR_FILE", str(anchors))
    say("anchor")
    monkeypatch.delenv("PATCHCORE_ANCHOR_FILE")
    # Weeks later, somebody changes his mind about an image of the batch.
    image = open_services(lived.root).ledger.batch("first").images[0]  # type: ignore[union-attr]
    words = ("--normal" if image.anomalous else "--anomalous", "--reason", "seen by hand", "-w", lived.root)
    assert run("override", "first", image.path, *words).returncode == 0
    for name, options in (("part", ("--batch", "first")), ("whole", ())):
        say("export", tmp_path / name, *options)
        check = ("audit", "verify", "--anchor", anchors, "--json", "-w", tmp_path, "--file")
        found = json.loads(run(*check, tmp_path / name).stdout)
        assert (found["ok"], found["problems"]) == (True, [])
        if name == "part":
            assert found["notes"] == [
                f"2 of these records come after the last anchor, {anchors}, line 1: no anchor covers them"
            ]
    alone = json.loads(run("audit", "verify", "--file", tmp_path / "part", "--json", "-w", tmp_path).stdout)
    assert "no anchor was given" in alone["notes"][0]


def test_an_export_that_was_made_up_is_found_by_any_anchor(
    say: Say, run: Run, lived: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    early, late = tmp_path / "early.jsonl", tmp_path / "late.jsonl"
    monkeypatch.setenv("PATCHCORE_ANCHOR_FILE", str(early))
    say("anchor")
    open_services(lived.root).ledger.record_event("cell", "ingest", {}, who="ann")
    monkeypatch.setenv("PATCHCORE_ANCHOR_FILE", str(late))
    folder = tmp_path / "part"
    say("export", folder, "--batch", "first")  # anchors it in the file, too
    monkeypatch.delenv("PATCHCORE_ANCHOR_FILE")
    later = tmp_path / "later.jsonl"
    later.write_text(json.dumps({**json.loads(late.read_text()), "size": 10**6}))

    def problems(anchor: Path) -> str:
        done = run("audit", "verify", "--file", folder, "--anchor", anchor, "--json", "-w", tmp_path)
        assert done.returncode == (3 if json.loads(done.stdout)["problems"] else 0)
        return "; ".join(json.loads(done.stdout)["problems"])

    assert (problems(early), problems(late)) == ("", "")
    assert "are of a later state of the ledger" in problems(later)
    _make_up(folder)
    # Every content, link and path is right; size and head are those of the anchors. Their roots are not to be had.
    assert "names another hash or root than the checkpoint" in problems(late)
    assert "are not the first of the checkpoint's" in problems(early)
    proof = read_json(folder / "proof.json")
    (folder / "proof.json").write_text(json.dumps({**proof, "consistency": {}}))
    assert "no proof that" in problems(early)


def _make_up(folder: Path) -> None:
    """Let the first image of a batch's export have another score, and make up a ledger that it is a part of."""
    forged: dict[int, bytes] = {}

    def other(row: dict[str, Any]) -> dict[str, Any]:
        if forged:
            return row
        changed = {**row, "score": 0.0}
        forged[row["sequence"]] = digest({name: value for name, value in changed.items() if name != "sequence"})
        return changed

    _forge(folder, "images.parquet", other)
    leaves: dict[int, bytes] = {}

    def chained(row: dict[str, Any]) -> dict[str, Any]:
        number, content = row["sequence"], forged.get(row["sequence"], bytes.fromhex(row["content"]))
        leaves[number] = link_hash(bytes.fromhex(row["previous"]), number, row["kind"], content)
        return {**row, "content": content.hex(), "hash": leaves[number].hex()}

    _forge(folder, "chain.parquet", chained)
    proof = read_json(folder / "proof.json")
    size = proof["checkpoint"]["size"]
    tree = Tree([leaves.get(number, bytes(32)) for number in range(1, size + 1)])
    proof["checkpoint"]["root"] = root_from(
        leaves[max(leaves)], max(leaves) - 1, size, tree.path(max(leaves) - 1)
    ).hex()
    proof["paths"] = {number: [node.hex() for node in tree.path(int(number) - 1)] for number in proof["paths"]}
    earlier = {size: [node.hex() for node in tree.consistency(int(size))] for size in proof["consistency"]}
    (folder / "proof.json").write_text(json.dumps({**proof, "consistency": earlier}))


def test_a_whole_export_that_was_cut_off_is_found_without_an_anchor(say: Say, run: Run, tmp_path: Path) -> None:
    say("export", tmp_path / "whole")
    end = read_json(tmp_path / "whole" / "proof.json")["checkpoint"]["size"]
    for file in (tmp_path / "whole").glob("*.parquet"):
        _forge(tmp_path / "whole", file.name, lambda row: None if row["sequence"] > end - 3 else row)
    done = run("audit", "verify", "--file", tmp_path / "whole", "--json", "-w", tmp_path)
    assert done.returncode == 3
    assert f"all up to {end} are missing: proof.json" in done.stdout


def test_an_anchor_is_not_written_over_evidence(
    say: Say, lived: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "anchors.jsonl"
    monkeypatch.setenv("PATCHCORE_ANCHOR_FILE", str(file))
    size = say("anchor")[1]["size"]
    before = file.read_text()
    owner = Owner(f"sqlite:///{lived.ledger}")
    tables = ("checkpoints", "overrides", "images", "events", "decisions", "batches", "chain")
    owner.run(*(f"DELETE FROM {table} WHERE sequence > {size - 3}" for table in tables))  # noqa: S608
    code, value = say("anchor")
    assert code == 1
    assert len(value["failures"]) == 3
    assert all("names another ledger" in failure for failure in value["failures"])
    assert file.read_text() == before
    assert say("verify", "--no-banks")[0] == 3


def test_a_line_that_a_crash_cut_short_does_not_hide_the_next_one(
    say: Say, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "anchors.jsonl"
    file.write_text('{"size": 85')
    monkeypatch.setenv("PATCHCORE_ANCHOR_FILE", str(file))
    size = say("anchor")[1]["size"]
    assert [line[:10] for line in file.read_text().splitlines()] == ['{"size": 8', '{"at": "20']
    code, value = say("verify", "--no-banks")
    assert code == 0
    assert value["anchors"] >= 3
    assert say("anchor")[1]["size"] == size
    assert len(file.read_text().splitlines()) == 2


def test_what_is_no_export_is_refused(run: Run, tmp_path: Path) -> None:
    done = run("audit", "verify", "--file", tmp_path, "-w", tmp_path)
    assert done.returncode == 3
    assert "is not an export of a ledger" in done.stderr


def test_images_move_to_an_archive_that_the_chain_vouches_for(say: Say, lived: Workspace, tmp_path: Path) -> None:
    before = say("batch", "first")[1]
    code, value = say("archive", "--before", "2999-01-01")
    assert (code, value["archived"]["images"]) == (0, 16)
    (file,) = lived.archives.rglob("*.parquet")
    assert sha256_of(file) == value["archived"]["sha256"]
    assert Owner(f"sqlite:///{lived.ledger}").rows("SELECT count(*) FROM images") == [(0,)]
    assert say("archive", "--before", "2999-01-01")[1]["archived"] is None
    assert say("verify", "--no-banks")[1]["problems"] == []
    after = say("batch", "first")[1]
    assert after["images"] == before["images"]
    assert after["archived"] is False  # the archive is at hand
    image = before["images"][0]["sha256"]
    assert [record["batch"] for record in say("image", image)[1]["records"]] == ["first"]

    content = file.read_bytes()
    file.write_bytes(content[:-1] + b"x")
    code, value = say("verify", "--no-banks")
    assert code == 3
    assert any("is not the file that was written" in problem for problem in value["problems"])
    assert "is not the file that was written" in line_of(
        say("batch", "first")[1]["error"]
    )  # no answer from a forged file
    file.rename(tmp_path / "elsewhere")
    code, value = say("verify", "--no-banks")
    assert code == 3
    assert "16 records are in archive" in value["problems"][0]
    code, value = say("verify", "--no-banks", "--without-archives")
    assert code == 0
    assert "which is not here: they were not checked" in value["notes"][0]
    assert say("batch", "first")[1]["archived"] is True
    with closing(sqlite3.connect(lived.ledger)) as database, pytest.raises(sqlite3.IntegrityError, match="append-only"):
        database.execute("DELETE FROM batches")


def test_an_archive_that_was_forged_along_with_its_record_is_found(say: Say, lived: Workspace) -> None:
    say("archive", "--before", "2999-01-01")
    (file,) = lived.archives.rglob("*.parquet")
    columns = columns_of("images")
    rows = [dict(zip(columns, row, strict=True)) for row in read_table(file, columns)]
    rows[2]["score"] = 0.0
    write_table(file, columns, [tuple(row.values()) for row in rows])
    owner = Owner(f"sqlite:///{lived.ledger}")
    owner.run(f"UPDATE archives SET sha256 = '{sha256_of(file)}'")  # noqa: S608
    code, value = say("verify", "--no-banks")
    assert (code, value["first_bad"]) == (3, rows[2]["sequence"])
    assert any("its content in archives was altered" in problem for problem in value["problems"])


def _forge(folder: Path, name: str, change: Callable[[dict[str, Any]], Any]) -> set[int]:
    """Change the rows of a table of an export, and the digest in its proof with it; return which ones went.

    For each row ``change`` returns what stands in its place: a row, several, or None.
    """
    proof = read_json(folder / "proof.json")
    file, columns = folder / name, proof["columns"][Path(name).stem]
    # What was put after the end of the file is left out here.
    file.write_bytes(file.read_bytes().removesuffix(b"\n") if file.suffix == ".parquet" else file.read_bytes())
    before = [dict(zip(columns, row, strict=True)) for row in read_table(file, columns)]
    changed = [change(row) for row in before]
    after = [row for each in changed if each is not None for row in (each if isinstance(each, list) else [each])]
    write_table(file, columns, [tuple(row.values()) for row in after])
    proof["files"][name] = sha256_of(file)
    (folder / "proof.json").write_text(json.dumps(proof))
    return {row["sequence"] for row in before} - {row["sequence"] for row in after}


def test_what_changes_the_ledger_anchors_it(
    lived: Workspace, run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "anchors.jsonl"
    monkeypatch.setenv("PATCHCORE_ANCHOR_FILE", str(file))
    tags = len(open_services(lived.root).versioning.tags("patchcore-ledger-"))
    done = run("rollback", "cell", "--reason", "a test", "--json", "-w", lived.root)
    assert json.loads(done.stdout)["anchored"]["failures"] == []
    batch = ("score", "cell", lived.root.parent / "first", "--batch", "third", "--json", "-w", lived.root)
    (lived.root.parent / "first").mkdir()
    shutil.copy(next(lived.evaluation("cell").rglob("*.png")), lived.root.parent / "first")
    places = json.loads(run(*batch).stdout)["anchored"]["places"]
    assert places == ["MLflow, cell", str(file)]
    sizes = [json.loads(line)["size"] for line in file.read_text().splitlines()]
    assert len(sizes) == 2
    assert sizes[0] < sizes[1]
    assert json.loads(run(*batch).stdout)["anchored"]["size"] == sizes[1]  # nothing came: nothing is added
    assert len(open_services(lived.root).versioning.tags("patchcore-ledger-")) == tags + 1
    assert run("audit", "verify", "--no-banks", "-w", lived.root).returncode == 0
