"""Writing to a terminal: lines, pairs and tables, a little indented."""

import sys
from collections.abc import Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

Row = Sequence[object]

_PIPED = 120
"""The width of a table if the width of the terminal is not known."""
_INDENT = 2


def _console() -> Console:
    from patchcore.config.settings import read_settings

    width = None if sys.stdout.isatty() or read_settings().columns else _PIPED
    return Console(highlight=False, soft_wrap=True, width=width)


def say(text: str) -> None:
    """Write a line."""
    _console().print(f"  {text}", markup=False)


def show_pairs(title: str, rows: Sequence[tuple[str, object]]) -> None:
    """Write names and values, one pair a line."""
    show_table(title, ("", ""), rows, header=False)


def show_table(title: str, columns: Sequence[str], rows: Sequence[Row], *, header: bool = True) -> None:
    """Write a table under its title."""
    console = _console()
    cells = [[str(cell) for cell in row] for row in rows]
    borders = 3 * len(columns) + 1
    table = Table(show_header=header)
    for column, width in zip(columns, _widths([columns, *cells], console.width - borders - _INDENT), strict=True):
        table.add_column(column, overflow="fold", width=width)
    for row in cells:
        table.add_row(*map(Text, row))
    console.print(f"  {title}", style="bold", markup=False)
    # Not expanded: a file that the output goes to would have blanks at the end of every line.
    console.print(Padding(table, (0, 0, 0, _INDENT), expand=False), soft_wrap=False)


def _widths(rows: Sequence[Sequence[str]], space: int) -> list[int]:
    """Return the width of each column: no word is broken but the longest, and those only where they do not fit."""
    columns = list(zip(*rows, strict=True))
    whole = [max(_width(cell.splitlines()) for cell in column) for column in columns]
    widths = [max(_width(cell.split()) for cell in column) for column in columns]
    while sum(widths) > max(space, len(widths)):
        widths[max(reversed(range(len(widths))), key=widths.__getitem__)] -= 1  # of equal ones the last: not the time
    for wide in sorted(range(len(widths)), key=lambda index: whole[index] - widths[index]):
        widths[wide] += max(0, min(whole[wide] - widths[wide], space - sum(widths)))
    return widths


def _width(words: Sequence[str]) -> int:
    return max(map(cell_len, words), default=1)


def number(value: float | None) -> str:
    """Return a metric or a score as a person reads it."""
    return "no masks" if value is None else f"{value:.4f}"


def counted(number: int, singular: str, plural: str | None = None) -> str:
    """Return a number with the noun that it counts: ``1 batch``, ``2 batches``."""
    return f"{number} {singular if number == 1 else plural or singular + 's'}"


def moment(text: str) -> str:
    """Return a recorded time in full, as options accept it: 2026-01-31T02:13:00.25Z -> 2026-01-31 02:13:00.25Z."""
    return text.replace("T", " ")


def to_the_second(text: str) -> str:
    """Return the second of a recorded time, in tables too narrow for more: 2026-01-31 02:13:00Z."""
    return f"{text[:10]} {text[11:19]}Z"
