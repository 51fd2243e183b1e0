"""Exports of a ledger, verified without it: what is put into them, left out of them, or made up around them."""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from patchcore._util.files import read_json, sha256_of
from patchcore.adapters.ledger import Ledger
from patchcore.config.params_file import params_text
from patchcore.config.workspace import Workspace
from patchcore.errors import Refused
from patchcore.evidence.anchors import Anchor
from patchcore.evidence.export import write_export
from patchcore.evidence.export_scope import contents_of_part
from patchcore.evidence.export_tables import read_table, write_table
from patchcore.evidence.export_verification import verify_export
from patchcore.evidence.findings import Verification
from patchcore.evidence.hash_chain import digest, link
from patchcore.evidence.signing import Signer
from patchcore.lifecycle.archived_images import archived_rows
from patchcore.lifecycle.evidence import archives, exporting, verification
from patchcore.lifecycle.services import Services, open_services
from tests.support.ledgers import fill
from tests.support.places import REPOSITORY

BATCH, LATER = "monday", datetime(2999, 1, 1, tzinfo=UTC)
Row = dict[str, Any]


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    """A workspace whose ledger `fill` filled. Not to be changed, but by exports."""
    workspace = Workspace(tmp_path_factory.mktemp("exports") / "workspace")
    workspace.root.mkdir()
    workspace.params.write_text(params_text(), encoding="utf-8")
    shutil.copy(REPOSITORY / "dvc.yaml", workspace.pipeline)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("MLFLOW_TRACKING_URI", "PATCHCORE_LEDGER_URL", "PATCHCORE_SIGNING_KEY"):
            patch.delenv(name, raising=False)
        opened = open_services(workspace.root)
        fill(opened.ledger)
        yield opened


@pytest.fixture(scope="module", params=["parquet", "csv"])
def exports(request: pytest.FixtureRequest, services: Services, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the exports `whole` and `part`, and the anchor of each."""
    folder = tmp_path_factory.mktemp("exported")
    for name, batch in (("whole", None), ("part", BATCH)):
        exporting.export(services, folder / name, batch=batch, file_format=request.param)
    return folder


@pytest.fixture(params=["whole", "part"])
def export(request: pytest.FixtureRequest, exports: Path, tmp_path: Path) -> Path:
    """A copy of an export, to be changed: the whole one, and that of a batch."""
    return Path(shutil.copytree(exports / request.param, tmp_path / request.param))


@pytest.fixture
def part(exports: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(exports / "part", tmp_path / "part"))


@pytest.fixture
def whole(exports: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(exports / "whole", tmp_path / "whole"))


def anchor_of(folder: Path) -> Anchor:
    checkpoint = read_json(folder / "proof.json")["checkpoint"]
    return Anchor("the newspaper", checkpoint["size"], checkpoint["head"], checkpoint["root"])


def verified(folder: Path, *anchors: Anchor, **options: Any) -> Verification:
    return verify_export(folder, anchors or [anchor_of(folder)], **options)


def change_proof(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    proof = read_json(folder / "proof.json")
    change(proof)
    (folder / "proof.json").write_text(json.dumps(proof))


def rows_of(folder: Path, kind: str) -> list[Row]:
    columns = read_json(folder / "proof.json")["columns"][kind]
    return [dict(zip(columns, row, strict=True)) for row in read_table(file_of(folder, kind), columns)]


def put(folder: Path, kind: str, rows: list[Row]) -> None:
    """Write other records, and make right what the proof says of their file."""
    file, columns = file_of(folder, kind), read_json(folder / "proof.json")["columns"][kind]
    write_table(file, columns, [tuple(row[name] for name in columns) for row in rows])
    change_proof(folder, lambda proof: proof["files"].update({file.name: sha256_of(file)}))
    change_proof(folder, lambda proof: proof["records"].update({kind: len(rows)}))


def leave_out(folder: Path, kind: str, sequences: set[int]) -> None:
    """Take records and their links out."""
    for name in (kind, "chain"):
        put(folder, name, [row for row in rows_of(folder, name) if row["sequence"] not in sequences])


def file_of(folder: Path, kind: str) -> Path:
    (file,) = folder.glob(f"{kind}.*")
    return file


def test_what_was_exported_is_sound(export: Path) -> None:
    found = verified(export)
    assert (found.problems, found.notes) == ((), ())
    assert found.checked == len(rows_of(export, "chain"))


def test_a_part_has_the_record_that_tells_what_belongs_to_it(part: Path) -> None:
    (event,) = rows_of(part, "events")
    assert event["action"] == "export"
    assert json.loads(event["summary"])["records"] == len(rows_of(part, "chain")) - 1
    assert event["sequence"] <= anchor_of(part).size


@pytest.mark.parametrize("kind", ["overrides", "decisions", "members"])
def test_a_record_that_no_other_one_tells_of_is_missed_all_the_same(kind: str, part: Path) -> None:
    leave_out(part, kind, {row["sequence"] for row in rows_of(part, kind)})
    assert any(f"the export of batch {BATCH!r} has" in problem for problem in verified(part).problems)


def test_the_last_scoring_is_missed(part: Path) -> None:
    last = max(rows_of(part, "batches"), key=lambda row: int(row["scoring"]))
    images = {row["sequence"] for row in rows_of(part, "images") if row["scored_batch"] == last["sequence"]}
    leave_out(part, "images", images)
    leave_out(part, "batches", {last["sequence"]})
    assert any("has" in problem and "are not the same" in problem for problem in verified(part).problems)


def test_without_the_record_that_tells_what_belongs_to_it_a_part_says_so(part: Path) -> None:
    leave_out(part, "events", {row["sequence"] for row in rows_of(part, "events")})
    found = verified(part)
    assert found.problems == ()
    assert any("a missing override or decision is not detected" in note for note in found.notes)


def test_records_after_the_checkpoint_of_a_whole_export_are_told(whole: Path) -> None:
    end = read_json(whole / "proof.json")["checkpoint"]["sequence"]
    last = rows_of(whole, "chain")[-1]
    forged = {**rows_of(whole, "overrides")[0], "sequence": end + 1, "who": "customer"}
    content = digest({name: value for name, value in forged.items() if name != "sequence"})
    made = link(bytes.fromhex(last["hash"]), end + 1, "overrides", content)
    put(whole, "overrides", [*rows_of(whole, "overrides"), forged])
    more = {"sequence": end + 1, "kind": "overrides", "content": content.hex(), "previous": made.previous.hex()}
    put(whole, "chain", [*rows_of(whole, "chain"), {**more, "hash": made.hash.hex()}])
    assert any("after the last checkpoint of the export" in problem for problem in verified(whole).problems)


def test_a_whole_export_whose_end_is_missing_is_told(whole: Path) -> None:
    end = read_json(whole / "proof.json")["checkpoint"]["sequence"]
    leave_out(whole, "checkpoints", {end})
    assert "the last checkpoint of the export is missing" in "; ".join(verified(whole).problems)


def test_another_file_than_the_one_that_is_verified_is_told(export: Path) -> None:
    genuine = file_of(export, "images")
    (export / "more").mkdir()
    shutil.copy(genuine, export / "more")
    other = export / f"images{'.csv' if genuine.suffix == '.parquet' else '.parquet'}"
    other.write_text("all is well\n")
    found = verified(export).problems
    assert [name in "; ".join(found) for name in ("'more'", repr(other.name))] == [True, True]
    for name in (f"more/{genuine.name}", str(genuine.resolve()), other.name):
        change_proof(export, lambda proof, name=name: proof["files"].update({name: sha256_of(genuine)}))  # type: ignore[misc]
        with pytest.raises(Refused, match="is not an export of a ledger"):
            verified(export)
        change_proof(export, lambda proof, name=name: proof["files"].pop(name))  # type: ignore[misc]


def test_a_column_that_is_not_verified_is_told(export: Path) -> None:
    file, columns = file_of(export, "batches"), read_json(export / "proof.json")["columns"]["batches"]
    rows = [{**row, "released": "by the customer"} for row in rows_of(export, "batches")]
    wider = {**columns, "released": "string"}
    write_table(file, wider, [tuple(row[name] for name in wider) for row in rows])
    change_proof(export, lambda proof: proof["files"].update({file.name: sha256_of(file)}))
    (problem,) = verified(export).problems
    assert "the records cannot be read" in problem
    assert "released" in problem


def test_a_link_in_place_of_a_file_is_told(export: Path, tmp_path: Path) -> None:
    file = file_of(export, "images")
    file.rename(tmp_path / "elsewhere")
    file.symlink_to(tmp_path / "elsewhere")
    assert f"{file.name} is missing" in verified(export).problems


@pytest.mark.parametrize(
    "change",
    [
        lambda proof: proof.update(paths=None),
        lambda proof: proof.update(consistency=[]),
        lambda proof: proof.update(checkpoint=[]),
        lambda proof: proof["checkpoint"].update(size="many"),
        lambda proof: proof["checkpoint"].update(root="no hash"),
        lambda proof: proof["records"].update(images=1),
        lambda proof: proof.update(batch="4711"),
    ],
)
def test_a_proof_that_says_something_else_is_a_problem_not_a_crash(
    change: Callable[[dict[str, Any]], object], part: Path
) -> None:
    earlier = Anchor("the newspaper", 1, "0" * 64, "0" * 64)
    change_proof(part, change)
    assert verify_export(part, [earlier]).problems


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        "[]",
        "{}",
        '{"format": 1}',
        '{"format": 9}',
        '{"format": 2, "columns": {"chain": {"sequence": "nonsense"}}}',
    ],
)
def test_what_is_no_proof_is_refused(text: str, export: Path) -> None:
    (export / "proof.json").write_text(text)
    with pytest.raises(Refused, match="is not an export of a ledger"):
        verify_export(export)


def test_a_proof_that_says_a_thing_twice_is_refused(export: Path) -> None:
    text = (export / "proof.json").read_text()
    (export / "proof.json").write_text(text.replace("{", '{"complete": true, ', 1))
    with pytest.raises(Refused, match="the same key twice"):
        verify_export(export)


def test_anchors_of_later_days_are_counted_and_do_not_hurt(export: Path) -> None:
    own = anchor_of(export)
    later = Anchor("tomorrow", own.size + 5, "0" * 64, "0" * 64)
    found = verified(export, own, later)
    assert (found.problems, found.notes) == (
        (),
        ("1 of the anchors are of a later state of the ledger than this export",),
    )
    assert verified(export, later).problems  # alone it shows nothing


def test_an_export_of_an_archived_batch_says_what_is_elsewhere(tmp_path: Path, services: Services) -> None:
    workspace = Workspace(Path(shutil.copytree(services.workspace.root, tmp_path / "workspace")))
    copied = open_services(workspace.root)
    late = archives.archive(copied, LATER)
    assert late is not None
    exporting.export(copied, tmp_path / "here", batch=BATCH, file_format="parquet")
    assert verified(tmp_path / "here").problems == ()
    (workspace.archives / late.name).rename(tmp_path / "moved away")
    exporting.export(copied, tmp_path / "gone", batch=BATCH, file_format="parquet")
    assert verified(tmp_path / "gone").problems
    found = verified(tmp_path / "gone", without_archives=True)
    assert found.problems == ()
    received = sum(row["received"] for row in rows_of(tmp_path / "gone", "batches"))
    assert f"{received} images are in archives, which are not here: they were not checked" in found.notes
    leave_out(tmp_path / "gone", "images", {row["sequence"] for row in rows_of(tmp_path / "gone", "chain")[-4:]})
    assert verified(tmp_path / "gone", without_archives=True).problems


def test_images_that_are_archived_during_an_export_are_in_it_once(
    tmp_path: Path, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = Workspace(Path(shutil.copytree(services.workspace.root, tmp_path / "workspace")))
    copied, rows = open_services(workspace.root), archived_rows

    def meanwhile(*arguments: Any) -> Any:
        if not copied.ledger.archives():
            archives.archive(open_services(workspace.root), LATER)
        return rows(*arguments)

    monkeypatch.setattr(exporting, "archived_rows", meanwhile)
    exporting.export(copied, tmp_path / "whole", batch=None, file_format="parquet")
    assert copied.ledger.archives()
    assert verified(tmp_path / "whole").problems == ()


def test_a_first_export_is_vouched_for_by_the_key_that_signs_it(tmp_path: Path) -> None:
    private = Ed25519PrivateKey.generate()
    signer = Signer(private.public_key().public_bytes_raw().hex(), private)
    ledger = fill(Ledger(f"sqlite:///{tmp_path / 'ledger.db'}", signer=signer))
    checkpoint = ledger.checkpoint()
    with ledger.tables(up_to=checkpoint.sequence) as tables:
        write_export(tmp_path / "export", tables, {"complete": True, "checkpoint": asdict(checkpoint)}, "parquet")
    found = verified(tmp_path / "export", trusted=[signer.key])
    assert (found.problems, found.notes) == ((), ())
    assert verified(tmp_path / "export", trusted=["0" * 64]).problems


def test_who_may_only_read_exports_what_the_last_checkpoint_names(
    tmp_path: Path, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = Workspace(Path(shutil.copytree(services.workspace.root, tmp_path / "workspace")))
    before = open_services(workspace.root).ledger.checkpoint()
    monkeypatch.setenv("PATCHCORE_LEDGER_URL", f"sqlite:///file:{workspace.ledger}?mode=ro&uri=true")
    exporting.export(open_services(workspace.root), tmp_path / "part", batch=BATCH, file_format="csv")
    assert anchor_of(tmp_path / "part").size == before.size
    found = verified(tmp_path / "part")
    assert found.problems == ()
    assert any("no record says what belongs to this export" in note for note in found.notes)


def test_a_false_record_of_an_export_is_found_in_the_ledger(tmp_path: Path, services: Services) -> None:
    workspace = Workspace(Path(shutil.copytree(services.workspace.root, tmp_path / "workspace")))
    copied = open_services(workspace.root)
    for name in ("first", "second"):  # the second one rests on all that the first one does
        exporting.export(copied, tmp_path / name, batch=BATCH, file_format="csv")
    assert verification.verify(copied, banks=False).problems == ()
    (overridden,) = {row["sequence"] for row in rows_of(tmp_path / "first", "overrides")}
    others = (row["sequence"] for row in rows_of(tmp_path / "first", "chain"))
    lie = contents_of_part(BATCH, (each for each in others if each != overridden))
    event = copied.ledger.record_event("bottle", "export", lie, who="mallory")
    (problem,) = verification.verify(copied, banks=False).problems
    assert problem.startswith(f"record {event.sequence}: does not match the records that belonged to the export")
