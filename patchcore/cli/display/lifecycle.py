"""What a person sees at the end of a command: short tables, numbers that mean something, the next step."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from patchcore.cli.display.terminal import number, say, show_table

_METRICS = {
    "image_auroc": "image AUROC",
    "average_precision": "average precision",
    "f1_max": "F1-max",
    "pixel_auroc": "pixel AUROC",
    "aupro": "AUPRO",
}


def lineage(rows: Sequence[Mapping[str, Any]]) -> None:
    """Show bank versions side by side, a column a fact."""
    show_table("bank versions", list(rows[0]), [list(row.values()) for row in rows])


def one_line(words: Callable[[Mapping[str, Any]], str]) -> Callable[[Mapping[str, Any]], None]:
    """Return what shows a value as one line."""
    return lambda value: say(words(value))


def metric_rows(metrics: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what was measured of a bank, by the names that people use."""
    return [(words, number(metrics[name])) for name, words in _METRICS.items() if name in metrics]


def bank_rows(rows: int, counts: Mapping[str, Any]) -> str:
    """Return a number of rows, and how the bank grew if there was more than one arrival."""
    added, merged = (int(counts.get(name) or 0) for name in ("rows_added", "rows_merged"))
    return f"{rows} ({added} added to the first, {merged} merged)" if added or merged else str(rows)
