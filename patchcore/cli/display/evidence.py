"""What a person sees of the ledger's evidence about itself."""

from collections.abc import Mapping
from typing import Any

from patchcore.cli.display.terminal import counted, say, show_pairs


def verified(value: Mapping[str, Any]) -> None:
    """Show the state of the ledger."""
    for problem in value["problems"]:
        say(f"problem: {problem}")
    for note in value["notes"]:
        say(f"not checked: {note}")
    if value["first_bad"] is not None:
        say(f"first bad record: {value['first_bad']}")
    compared = counted(value["anchors"], "anchor")
    if value["banks"] is not None:
        compared += f", {counted(value['banks'], 'bank')}"
    verdict = "sound" if value["ok"] else "NOT sound"
    part = value["checked"] != value["records"] and value["ok"]
    checked = f"{value['checked']} of " if part else ""
    say(f"{checked}{counted(value['records'], 'record')}, head {value['head'][:16]}…, {compared}: {verdict}")


def exported(value: Mapping[str, Any]) -> None:
    """Show what was exported."""
    counts = [(kind, count) for kind, count in value["records"].items() if count and kind != "chain"]
    checkpoint = value["checkpoint"]
    named = ("named by checkpoint", f"{counted(checkpoint['size'], 'record')}, root {checkpoint['root'][:16]}…")
    show_pairs(f"exported to {value['folder']}", [*counts, named])
    say(f"verify it anywhere with: patchcore audit verify --file {value['folder']}")


def archived(value: Mapping[str, Any]) -> None:
    """Show what moved to an archive."""
    if (done := value["archived"]) is None:
        say("nothing to archive: no batch was recorded before that time")
        return
    say(f"{counted(done['images'], 'image')} moved to archive {done['name']}, sha256 {done['sha256'][:16]}…")


def anchored(value: Mapping[str, Any]) -> None:
    """Show where the ledger's state is written down."""
    for failure in value["failures"]:
        say(f"not written: {failure}")
    signed = f"signed by {value['key'][:16]}…" if value["key"] else "not signed"
    rows = [("records", value["size"]), ("head", value["head"]), ("Merkle root", value["root"]), ("checkpoint", signed)]
    show_pairs("the ledger is anchored", [*rows, *(("written to", place) for place in value["places"])])


def migrated(value: Mapping[str, Any]) -> None:
    """Show the revision of the ledger's tables."""
    say(f"the ledger's tables are those of revision {value['revision']}")
