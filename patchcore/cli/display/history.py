"""What a person sees of decisions about production: what was there at a time, and all that happened to a category."""

from patchcore.cli.display.tables import SHOWN, Value
from patchcore.cli.display.terminal import moment, say, show_pairs, show_table


def at(value: Value) -> None:
    """Show what was in production at a time, and who had decided that."""
    show_pairs(
        f"{value['category']} at {moment(value['at'])}",
        [
            ("bank version", value["bank_version"]),
            ("sha256", value["bank_sha256"]),
            ("since", moment(value["since"])),
            ("until", moment(value["until"]) if value["until"] else "now"),
            ("after bank version", value["from_version"] or "none"),
            ("decided by", f"{value['who']}, {_action(value['decision'])}"),
            ("reason", value["reason"]),
        ],
    )


def history(value: Value) -> None:
    """Show every decision about a category, and what was put right or withdrawn between them."""
    rows = [
        (entry["sequence"], moment(entry["at"]), _action(entry), _change(entry), entry["who"], _why(entry))
        for entry in value["history"]
    ]
    title = f"{value['category']}, in production: {f'version {now}' if (now := value['production']) else 'nothing'}"
    shown = rows[-SHOWN:]  # of a long history the end is what matters
    show_table(title, ("record", "at", "what", "bank", "who", "why"), shown)
    if len(rows) > len(shown):
        say(f"… and {len(rows) - len(shown)} earlier ones, see --json")


def _action(entry: Value) -> str:
    return f"{entry['action']}, forced" if entry.get("forced") else str(entry["action"])


def _change(entry: Value) -> str:
    return "" if entry["kind"] == "event" else f"{entry['from_version'] or 'none'} to {entry['to_version']}"


def _why(entry: Value) -> str:
    """Return the reason of a decision, what the gate said, and which other record it belongs to."""
    if entry["kind"] == "event":
        return _withdrawn(entry["summary"]) if entry["action"] == "withdraw" else _put_right(entry["summary"])
    gate = "" if entry["passed"] is None else f"; gate {'passed' if entry['passed'] else 'NOT passed'}"
    proposal = f"; approves {entry['proposal']}" if entry["proposal"] is not None else ""
    approval = f"; approved by {entry['approved_by']}" if entry["approved_by"] is not None else ""
    return f"{entry['reason']}{gate}{proposal}{approval}"


def _withdrawn(summary: Value) -> str:
    return f"{summary['path']}: {summary['reason']}; data-set version {summary['dataset_version']}"


def _put_right(summary: Value) -> str:
    was, now = ("nothing" if summary[name] is None else f"version {summary[name]}" for name in ("was", "is"))
    return "; ".join([f"was: {was}, is: {now}", *summary.get("repairs", ())])
