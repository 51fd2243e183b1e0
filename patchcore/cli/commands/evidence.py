"""`patchcore audit verify, export, archive, anchor`."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from patchcore.cli.commands.options import Json, Place, place_of
from patchcore.cli.display import evidence as display
from patchcore.cli.result import Outcome, finish
from patchcore.errors import Fault, VerificationFailed

if TYPE_CHECKING:
    from patchcore.lifecycle.evidence.results import (
        AnchoredResult,
        ArchiveResult,
        ExportResult,
        VerificationResult,
    )


def verify(
    file: Annotated[Path | None, typer.Option(help="Verify this export; no ledger is needed.")] = None,
    anchor: Annotated[
        list[Path] | None, typer.Option(help="Compare with the anchors in this file or folder; repeatable.")
    ] = None,
    banks: Annotated[bool, typer.Option(help="Download every bank and compare its digest with the ledger.")] = True,
    without_archives: Annotated[
        bool, typer.Option("--without-archives", help="Accept archives that are not in the workspace.")
    ] = False,
    json: Json = False,
    workspace: Place = None,
) -> int:
    """Verify that no record, archive or bank was changed, removed or inserted.

    Anchors show whether the newest records were removed or rewritten; without an anchor that is not detected.
    """

    def work() -> "Outcome[VerificationResult]":
        from patchcore.evidence.anchors import read_anchors
        from patchcore.evidence.export_verification import verify_export
        from patchcore.lifecycle.evidence import verification
        from patchcore.lifecycle.evidence.results import VerificationResult
        from patchcore.lifecycle.services import services_of

        given = [read_anchors(path) for path in anchor or ()]
        known = [one for each in given for one in each.anchors]
        if file:
            trusted = verification.configured_keys()
            found = verify_export(file, known, trusted, without_archives=without_archives)
        else:
            with services_of(place_of(workspace).root) as services:
                found = verification.verify(services, banks=banks, known=known, without_archives=without_archives)
        result = VerificationResult.of(found, notes=tuple(note for each in given for note in each.notes))
        if result.ok:
            return Outcome(result)
        what = "the ledger failed verification" if file is None else f"the export {file} failed verification"
        got = "; ".join(result.problems)[:500]
        remedy = "keep a copy of it as evidence, then restore it from a backup"
        return Outcome(result, VerificationFailed(what, got=got, expected="no problem", remedy=remedy))

    return finish(work, as_json=json, show=display.verified)


def export(
    folder: Annotated[Path, typer.Argument(help="The folder to make; it must not exist.")],
    batch: Annotated[
        str | None, typer.Option(help="Export this batch only, with every record that it depends on.")
    ] = None,
    csv: Annotated[bool, typer.Option("--csv", help="Write CSV files, not Parquet files.")] = False,
    json: Json = False,
    workspace: Place = None,
) -> int:
    """Export the ledger, or a batch, to files that can be verified without the ledger."""

    def work() -> "Outcome[ExportResult]":
        from patchcore.lifecycle.evidence.exporting import export as write
        from patchcore.lifecycle.services import services_of

        with services_of(place_of(workspace).root) as services:
            written = write(services, folder.resolve(), batch=batch, file_format="csv" if csv else "parquet")
        return Outcome(written.model_copy(update={"folder": str(folder)}))

    return finish(work, as_json=json, show=display.exported)


def archive(
    before: Annotated[str, typer.Option(help="Move batches recorded before this time, such as 2026-01-01 (UTC).")],
    json: Json = False,
    workspace: Place = None,
) -> int:
    """Move the images of old batches from the ledger to an archive file.

    The hash chain still covers the moved images, so the archive can be verified.
    """

    def work() -> "Outcome[ArchiveResult]":
        from patchcore.adapters.ledger.times import time_of
        from patchcore.lifecycle.evidence.anchoring import anchor_after_change
        from patchcore.lifecycle.evidence.archives import archive as move
        from patchcore.lifecycle.evidence.results import ArchiveResult
        from patchcore.lifecycle.services import services_of

        with services_of(place_of(workspace).root) as services:
            moved = move(services, time_of(before))
            return Outcome(ArchiveResult(archived=moved, anchored=anchor_after_change(services)))

    return finish(work, as_json=json, show=display.archived)


def anchor(json: Json = False, workspace: Place = None) -> int:
    """Write the state of the ledger to a git tag, to MLflow, and to the file that PATCHCORE_ANCHOR_FILE names."""

    def work() -> "Outcome[AnchoredResult]":
        from patchcore.lifecycle.evidence.anchoring import anchor as write
        from patchcore.lifecycle.evidence.results import AnchoredResult
        from patchcore.lifecycle.services import services_of

        with services_of(place_of(workspace).root) as services:
            done = write(services)
        result = AnchoredResult(**asdict(done.checkpoint), places=done.places, failures=done.failures)
        if not done.failures:
            return Outcome(result)
        got, remedy = "; ".join(done.failures), "make the place writable, then run the command again"
        return Outcome(result, Fault("the ledger is not anchored in every place", got, "no failure", remedy))

    return finish(work, as_json=json, show=display.anchored)
