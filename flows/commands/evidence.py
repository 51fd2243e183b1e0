"""`patchcore audit verify, export, archive, anchor`: what makes the ledger's answers hold."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from flows.commands.options import Json, Place, place_of
from flows.display import evidence as display
from flows.outcome import Outcome, finish
from patchcore.errors import Fault, Refused


def verify(
    file: Annotated[Path | None, typer.Option(help="An export; then no ledger is needed.")] = None,
    anchor: Annotated[list[Path] | None, typer.Option(help="A file or folder with anchors, for an export.")] = None,
    banks: Annotated[bool, typer.Option(help="Compare every bank in the registry with the ledger's digest.")] = True,
    json: Json = False,
    workspace: Place = None,
) -> int:
    """Check that no record was changed, taken out or put in, and that the banks are those of then."""

    def work() -> Outcome:
        value = _verified_file(file, anchor or []) if file else _verified_ledger(workspace, banks=banks)
        if value["ok"]:
            return Outcome(value)
        got = "; ".join(value["problems"])[:500]
        what = "the ledger is not sound" if file is None else f"the export {file} is not sound"
        return Outcome(value, Refused(what, got=got, expected="no problem", remedy="restore it"))

    return finish(work, as_json=json, show=display.verified)


def export(
    folder: Annotated[Path, typer.Argument(help="Where to; it is made.")],
    batch: Annotated[str | None, typer.Option(help="Only this batch, with all that it rests on.")] = None,
    csv: Annotated[bool, typer.Option("--csv", help="CSV instead of Parquet.")] = False,
    json: Json = False,
    workspace: Place = None,
) -> int:
    """Write the ledger, or a batch, to files that are verified without it."""

    def work() -> Outcome:
        from patchcore.lifecycle.evidence import verification as evidence
        from patchcore.lifecycle.services import open_services

        services = open_services(place_of(workspace).root)
        proof = evidence.export(services, folder.resolve(), batch=batch, file_format="csv" if csv else "parquet")
        names = ("complete", "checkpoint", "records", "files")
        return Outcome({"folder": str(folder), **{name: proof[name] for name in names}})

    return finish(work, as_json=json, show=display.exported)


def archive(
    before: Annotated[str, typer.Option(help="Batches recorded before this time, such as 2026-01-01; UTC.")],
    json: Json = False,
    workspace: Place = None,
) -> int:
    """Move the images of old batches out of the ledger, into files that its chain goes on to vouch for."""

    def work() -> Outcome:
        from patchcore.adapters.ledger.records import time_of
        from patchcore.lifecycle.evidence.archives import archive as move
        from patchcore.lifecycle.services import open_services

        services = open_services(place_of(workspace).root)
        moved = move(services, time_of(before))
        return Outcome({"archived": None if moved is None else asdict(moved)})

    return finish(work, as_json=json, show=display.archived)


def anchor(json: Json = False, workspace: Place = None) -> int:
    """Write the ledger's present state down outside of it: a git tag, MLflow, the file that the environment names."""

    def work() -> Outcome:
        from patchcore.lifecycle.evidence.anchoring import anchor as write
        from patchcore.lifecycle.services import open_services

        done = write(open_services(place_of(workspace).root))
        value = {**asdict(done.checkpoint), "places": list(done.places), "failures": list(done.failures)}
        if not done.failures:
            return Outcome(value)
        got = "; ".join(done.failures)
        return Outcome(value, Fault("the ledger is not anchored everywhere", got, "every place written", "mend it"))

    return finish(work, as_json=json, show=display.anchored)


def migrate(json: Json = False, workspace: Place = None) -> int:
    """Bring the ledger's tables to this version; make them where there are none."""

    def work() -> Outcome:
        from patchcore.adapters.ledger import ledger_url
        from patchcore.adapters.ledger import migrate as upgrade

        url = ledger_url(place_of(workspace))
        return Outcome({"revision": upgrade(url)})

    return finish(work, as_json=json, show=display.migrated)


def _verified_ledger(workspace: Path | None, *, banks: bool) -> dict[str, Any]:
    from patchcore.lifecycle.evidence import verification as evidence
    from patchcore.lifecycle.services import open_services

    return asdict(evidence.verify(open_services(place_of(workspace).root), banks=banks))


def _verified_file(folder: Path, anchor_files: list[Path]) -> dict[str, Any]:
    from patchcore.lifecycle.evidence import verification as evidence
    from patchcore.lifecycle.evidence.anchoring import anchors_in
    from patchcore.signatures import trusted_keys_from_environment

    known = [anchor for file in anchor_files for anchor in anchors_in(file)]
    return asdict(evidence.verify_file(folder, known, trusted_keys_from_environment()))
