"""`patchcore audit verify, export, archive, anchor`: what makes the ledger's answers hold."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from patchcore.cli.commands.options import Json, Place, place_of
from patchcore.cli.display import evidence as display
from patchcore.cli.result import Outcome, finish
from patchcore.errors import Fault, Refused


def verify(
    file: Annotated[Path | None, typer.Option(help="An export; then no ledger is needed.")] = None,
    anchor: Annotated[list[Path] | None, typer.Option(help="A file or folder with anchors.")] = None,
    banks: Annotated[bool, typer.Option(help="Compare every bank in the registry with the ledger's digest.")] = True,
    without_archives: Annotated[bool, typer.Option("--without-archives", help="Archives may be elsewhere.")] = False,
    json: Json = False,
    workspace: Place = None,
) -> int:
    """Check that no record was changed, taken out or put in, and that the banks are those of then."""

    def work() -> Outcome[dict[str, Any]]:
        from patchcore.lifecycle.evidence import verification
        from patchcore.lifecycle.evidence.anchoring import anchors_in

        given = [anchors_in(place) for place in anchor or ()]
        known = [one for each in given for one in each.anchors]
        if file:
            trusted = verification.configured_keys()
            found = verification.verify_file(file, known, trusted, without_archives=without_archives)
        else:
            services = _services(workspace)
            found = verification.verify(services, banks=banks, known=known, without_archives=without_archives)
        found = replace(found, notes=(*found.notes, *(note for each in given for note in each.notes)))
        if found.ok:
            return Outcome(asdict(found))
        what = "the ledger is not sound" if file is None else f"the export {file} is not sound"
        got = "; ".join(found.problems)[:500]
        return Outcome(asdict(found), Refused(what, got=got, expected="no problem", remedy="restore it"))

    return finish(work, as_json=json, show=display.verified)


def export(
    folder: Annotated[Path, typer.Argument(help="Where to; it is made.")],
    batch: Annotated[str | None, typer.Option(help="Only this batch, with all that it rests on.")] = None,
    csv: Annotated[bool, typer.Option("--csv", help="CSV instead of Parquet.")] = False,
    json: Json = False,
    workspace: Place = None,
) -> int:
    """Write the ledger, or a batch, to files that are verified without it."""

    def work() -> Outcome[dict[str, Any]]:
        from patchcore.lifecycle.evidence import verification

        services = _services(workspace)
        proof = verification.export(services, folder.resolve(), batch=batch, file_format="csv" if csv else "parquet")
        names = ("complete", "checkpoint", "records", "files")
        return Outcome({"folder": str(folder), **{name: proof[name] for name in names}})

    return finish(work, as_json=json, show=display.exported)


def archive(
    before: Annotated[str, typer.Option(help="Batches recorded before this time, such as 2026-01-01; UTC.")],
    json: Json = False,
    workspace: Place = None,
) -> int:
    """Move the images of old batches out of the ledger, into files that its chain goes on to vouch for."""

    def work() -> Outcome[dict[str, Any]]:
        from patchcore.adapters.ledger.times import time_of
        from patchcore.lifecycle.evidence.anchoring import anchor_and_tell
        from patchcore.lifecycle.evidence.archives import archive as move

        services = _services(workspace)
        moved = move(services, time_of(before))
        done = anchor_and_tell(services)  # what was moved is vouched for from outside, too
        return Outcome({"archived": None if moved is None else asdict(moved), "anchored": done})

    return finish(work, as_json=json, show=display.archived)


def anchor(json: Json = False, workspace: Place = None) -> int:
    """Write the ledger's present state down outside of it: a git tag, MLflow, the file that the environment names."""

    def work() -> Outcome[dict[str, Any]]:
        from patchcore.lifecycle.evidence.anchoring import anchor as write

        done = write(_services(workspace))
        value = {**asdict(done.checkpoint), "places": list(done.places), "failures": list(done.failures)}
        if not done.failures:
            return Outcome(value)
        got = "; ".join(done.failures)
        return Outcome(value, Fault("the ledger is not anchored everywhere", got, "every place written", "mend it"))

    return finish(work, as_json=json, show=display.anchored)


def migrate(json: Json = False, workspace: Place = None) -> int:
    """Bring the ledger's tables to this version; make them where there are none."""

    def work() -> Outcome[dict[str, Any]]:
        from patchcore.adapters.ledger import ledger_url
        from patchcore.adapters.ledger import migrate as upgrade

        url = ledger_url(place_of(workspace))
        return Outcome({"revision": upgrade(url)})

    return finish(work, as_json=json, show=display.migrated)


def _services(workspace: Path | None) -> Any:
    from patchcore.lifecycle.services import open_services

    return open_services(place_of(workspace).root)
