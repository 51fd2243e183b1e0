"""The tables of `patchcore audit at` and `patchcore audit history`."""

from typing import TYPE_CHECKING

from patchcore.cli.display.tables import SHOWN
from patchcore.cli.display.terminal import moment, say, show_pairs, show_table

if TYPE_CHECKING:
    from patchcore.adapters.ledger.records import Decision
    from patchcore.lifecycle.audit.bank_results import ProductionAnswer
    from patchcore.lifecycle.audit.history_results import HistoryAnswer, HistoryDecision, HistoryEvent


def at(value: "ProductionAnswer") -> None:
    """Show the bank in production at a time, and the decision behind it."""
    show_pairs(
        f"{value.category} at {moment(value.at)}",
        [
            ("bank version", value.bank_version),
            ("sha256", value.bank_sha256),
            ("since", moment(value.since)),
            ("until", moment(value.until) if value.until else "now"),
            ("after bank version", value.from_version or "none"),
            ("decided by", f"{value.who}, {_action(value.decision)}"),
            ("reason", value.reason),
        ],
    )


def history(value: "HistoryAnswer") -> None:
    """Show the decisions about a category, withdrawals and repairs of MLflow."""
    rows = [
        (entry.sequence, moment(entry.at), _action(entry), _change(entry), entry.who, _why(entry))
        for entry in value.history
    ]
    title = f"{value.category}, in production: {f'version {now}' if (now := value.production) else 'nothing'}"
    shown = rows[-SHOWN:]  # the newest entries of a long history
    show_table(title, ("record", "at", "what", "bank", "who", "why"), shown)
    if len(rows) > len(shown):
        say(f"… and {len(rows) - len(shown)} earlier ones, see --json")


def _action(entry: "Decision | HistoryDecision | HistoryEvent") -> str:
    return f"{entry.action}, forced" if getattr(entry, "forced", False) else entry.action


def _change(entry: "HistoryDecision | HistoryEvent") -> str:
    return "" if entry.kind == "event" else f"{entry.from_version or 'none'} to {entry.to_version}"


def _why(entry: "HistoryDecision | HistoryEvent") -> str:
    """Return the reason, the verdict of the gate, and the record that a decision belongs to."""
    if entry.kind == "event":
        return _withdrawal(entry) if entry.action == "withdraw" else _repair(entry)
    gate = "" if entry.passed is None else f"; gate {'passed' if entry.passed else 'NOT passed'}"
    proposal = f"; approves {entry.proposal}" if entry.proposal is not None else ""
    approval = f"; approved by {entry.approved_by}" if entry.approved_by is not None else ""
    return f"{entry.reason}{gate}{proposal}{approval}"


def _withdrawal(entry: "HistoryEvent") -> str:
    summary = entry.summary
    return f"{summary['path']}: {summary['reason']}; data-set version {summary['dataset_version']}"


def _repair(entry: "HistoryEvent") -> str:
    versions = (entry.summary[name] for name in ("was", "is"))
    was, now = ("nothing" if version is None else f"version {version}" for version in versions)
    repairs = entry.summary.get("repairs")
    return "; ".join([f"was: {was}, is: {now}", *(map(str, repairs) if isinstance(repairs, list) else ())])
