"""Tables and words that several displays share: long lists, decisions, short names of images."""

from collections import Counter
from collections.abc import Sequence
from itertools import takewhile
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from patchcore.cli.display.terminal import Row, moment, say, show_table

if TYPE_CHECKING:
    from patchcore.adapters.ledger.records import BatchRecord, Override

SHOWN = 20
"""The number of entries of a long list that are shown."""


def show_some(title: str, columns: Sequence[str], rows: Sequence[Row]) -> None:
    """Write the first rows of a table and the number of the others; for an empty table, only the title."""
    if not rows:
        say(title)
        return
    show_table(title, columns, rows[:SHOWN])
    say_more(len(rows))


def say_more(count: int) -> None:
    """Write how many entries of a list are not shown, if any."""
    if words := more(count):
        say(words.strip())


def more(count: int) -> str:
    """Return the words after the first entries of a list of that length; empty if all are shown."""
    return f" … and {count - SHOWN} more, see --json" if count > SHOWN else ""


def show_scorings(title: str, scorings: "Sequence[BatchRecord]") -> None:
    """Write the scorings of a batch."""
    rows = [
        (entry.scoring, moment(entry.scored_at), entry.who, entry.bank_version, entry.reason or "")
        for entry in scorings
    ]
    show_some(title, ("scoring", "scored at", "by", "bank version", "reason"), rows)


def show_overrides(entries: "Sequence[Override]") -> None:
    """Write the overrides of decisions."""
    rows = [
        (
            moment(entry.at),
            f"{entry.batch}, scoring {entry.scoring}",
            entry.path,
            f"{decision(entry.old)} to {decision(entry.new)}",
            entry.who,
            entry.reason,
        )
        for entry in entries
    ]
    show_some("overrides", ("at", "batch", "image", "decision", "who", "reason"), rows)


def decision(anomalous: bool) -> str:
    """Return a decision about an image as a word."""
    return "ANOMALOUS" if anomalous else "normal"


def short(sha256: str) -> str:
    """Return the first 16 digits of a hash."""
    return f"{sha256[:16]}…"


def image_names(paths: Sequence[str]) -> dict[str, str]:
    """Return the names of the images of a batch in a table: the file name if it occurs once.

    Images with the same file name have the path below the deepest folder that contains all images.
    """
    parts = {path: PurePosixPath(path).parts for path in paths}
    steps = zip(*(each[:-1] for each in parts.values()), strict=False)
    common = sum(1 for _ in takewhile(lambda step: len(set(step)) == 1, steps))
    uses = Counter(each[-1] for each in parts.values())
    shown = {path: each[common:] if uses[each[-1]] > 1 else each[-1:] for path, each in parts.items()}
    return {path: str(PurePosixPath(*each)) for path, each in shown.items()}
