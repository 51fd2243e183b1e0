"""The tables and lines of `patchcore audit verify, export, archive, anchor` and `patchcore migrate`."""

from typing import TYPE_CHECKING

from patchcore.cli.display.tables import short
from patchcore.cli.display.terminal import counted, say, show_pairs

if TYPE_CHECKING:
    from patchcore.lifecycle.evidence.results import (
        AnchoredResult,
        ArchiveResult,
        ExportResult,
        VerificationResult,
    )


def verified(result: "VerificationResult") -> None:
    """Show the problems, the notes, and one line with the state of the ledger or the export."""
    for problem in result.problems:
        say(f"problem: {problem}")
    for note in result.notes:
        say(f"not checked: {note}")
    if result.first_bad is not None:
        say(f"first bad record: {result.first_bad}")
    compared = counted(result.anchors, "anchor")
    if result.banks is not None:
        compared += f", {counted(result.banks, 'bank')}"
    verdict = "sound" if result.ok else "NOT sound"
    part = result.checked != result.records and result.ok
    checked = f"{result.checked} of " if part else ""
    say(f"{checked}{counted(result.records, 'record')}, head {short(result.head)}, {compared}: {verdict}")


def exported(result: "ExportResult") -> None:
    """Show what was exported."""
    counts = [(kind, count) for kind, count in result.records.items() if count and kind != "chain"]
    checkpoint = result.checkpoint
    covered = ("covered by checkpoint", f"{counted(checkpoint.size, 'record')}, root {short(checkpoint.root)}")
    show_pairs(f"exported to {result.folder}", [*counts, covered])
    say(f"verify it anywhere with: patchcore audit verify --file {result.folder}")


def archived(result: "ArchiveResult") -> None:
    """Show what was moved to an archive."""
    if (done := result.archived) is None:
        say("nothing to archive: no batch was recorded before that time")
        return
    say(f"{counted(done.images, 'image')} moved to archive {done.name}, sha256 {short(done.sha256)}")


def anchored(result: "AnchoredResult") -> None:
    """Show the anchor and the places that have it."""
    for failure in result.failures:
        say(f"not written: {failure}")
    signed = f"signed by {short(result.key)}" if result.key else "not signed"
    rows = [("records", result.size), ("head", result.head), ("Merkle root", result.root), ("checkpoint", signed)]
    show_pairs("the ledger is anchored", [*rows, *(("written to", place) for place in result.places)])
