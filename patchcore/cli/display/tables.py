"""Tables and words that several displays share: the first of a long list, decisions, short names of images."""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import takewhile
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from patchcore.cli.display.terminal import Row, moment, say, show_table

if TYPE_CHECKING:
    from patchcore.adapters.ledger.records import BatchRecord

SHOWN = 20
"""How many entries of a long list a person sees."""

Value = Mapping[str, Any]


def show_some(title: str, columns: Sequence[str], rows: Sequence[Row]) -> None:
    """Write the first rows of a table, and how many more there are; of an empty one the title alone."""
    if not rows:
        say(title)
        return
    show_table(title, columns, rows[:SHOWN])
    say_more(len(rows))


def say_more(count: int) -> None:
    """Say how many of a list are not shown, if any."""
    if words := more(count):
        say(words.strip())


def more(count: int) -> str:
    """Return what ends the first entries of a list of that length."""
    return f" … and {count - SHOWN} more, see --json" if count > SHOWN else ""


def show_scorings(title: str, scorings: "Sequence[BatchRecord]") -> None:
    """Write when, by whom and why a batch was scored, each time."""
    rows = [
        (entry.scoring, moment(entry.scored_at), entry.who, entry.bank_version, entry.reason or "")
        for entry in scorings
    ]
    show_some(title, ("scoring", "scored at", "by", "bank version", "reason"), rows)


def show_overrides(entries: Sequence[Value]) -> None:
    """Write where people decided otherwise."""
    rows = [
        (
            moment(entry["at"]),
            f"{entry['batch']}, scoring {entry['scoring']}",
            entry["path"],
            f"{decision(entry['old'])} to {decision(entry['new'])}",
            entry["who"],
            entry["reason"],
        )
        for entry in entries
    ]
    show_some("decided otherwise by people", ("at", "batch", "image", "decision", "who", "reason"), rows)


def decision(anomalous: bool) -> str:
    """Return a decision about an image in a word."""
    return "ANOMALOUS" if anomalous else "normal"


def short(sha256: str) -> str:
    """Return the digits of a sha256 that a person compares."""
    return f"{sha256[:16]}…"


def image_names(paths: Sequence[str]) -> dict[str, str]:
    """Return what the images of a batch are called in a table: the file name, or more where several share it.

    Of those the path below the deepest folder that has all images.
    """
    parts = {path: PurePosixPath(path).parts for path in paths}
    steps = zip(*(each[:-1] for each in parts.values()), strict=False)
    common = sum(1 for _ in takewhile(lambda step: len(set(step)) == 1, steps))
    uses = Counter(each[-1] for each in parts.values())
    shown = {path: each[common:] if uses[each[-1]] > 1 else each[-1:] for path, each in parts.items()}
    return {path: str(PurePosixPath(*each)) for path, each in shown.items()}
