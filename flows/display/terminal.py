"""Writing to a terminal: lines, pairs and tables, a little indented."""

from collections.abc import Sequence

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

Row = Sequence[object]


def _console() -> Console:
    return Console(highlight=False, soft_wrap=True)


def say(text: str) -> None:
    """Write a line."""
    _console().print(f"  {text}", markup=False)


def show_pairs(title: str, rows: Sequence[tuple[str, object]]) -> None:
    """Write names and values, one pair a line."""
    show_table(title, ("", ""), rows, header=False)


def show_table(title: str, columns: Sequence[str], rows: Sequence[Row], *, header: bool = True) -> None:
    """Write a table under its title."""
    table = Table(show_header=header)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(str(cell)) for cell in row))
    console = _console()
    console.print(f"  {title}", style="bold", markup=False)
    console.print(Padding(table, (0, 0, 0, 2)), soft_wrap=False)


def number(value: float | None) -> str:
    """Return a metric or a score as a person reads it."""
    return "no masks" if value is None else f"{value:.4f}"
