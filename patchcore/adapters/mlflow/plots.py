"""Pictures of the CSV files that DVC plots, for MLflow's user interface."""

import csv
from collections.abc import Iterator
from pathlib import Path


def draw(table: Path, picture: Path) -> None:
    """Draw a CSV file as a PNG: the first column to the right, one line for each other column.

    A column of words splits each line into one line per word. A file whose name says histogram is drawn as steps.

    Args:
        table: CSV file with a header, for example ``false_positive_rate,true_positive_rate``.
        picture: PNG file to write.

    Raises:
        ValueError: The file has no column of numbers beside the first.
    """
    # Not pyplot, which keeps global state and looks for a display.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.8), layout="constrained")
    axes = figure.add_subplot()
    style = "steps-mid" if "histogram" in table.stem else "default"
    name, lines = _lines(table)
    for label, horizontal, vertical in lines:
        axes.plot(horizontal, vertical, drawstyle=style, label=label)
    if not axes.lines:
        raise ValueError(f"{table} holds no line to draw")
    axes.set(title=_words(table.stem), xlabel=_words(name), ylabel=_words(str(axes.lines[0].get_label())))
    if len(axes.lines) > 1:
        axes.set_ylabel("")
        axes.legend()
    axes.grid(alpha=0.3)
    figure.savefig(picture, format="png", dpi=100)


def _lines(table: Path) -> tuple[str, list[tuple[str, list[float], list[float]]]]:
    """Return the first column's name, and each line's label and coordinates."""
    with table.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    if not rows:
        return table.stem, []
    first, *others = rows[0]
    words = [name for name in others if not _is_number(rows[0][name])]
    numbers = [name for name in others if name not in words]
    return first, [
        (
            " ".join((name, *group)),
            [float(row[first]) for row in members],
            [float(row[name]) for row in members],
        )
        for name in numbers
        for group, members in _groups(rows, words)
    ]


def _groups(rows: list[dict[str, str]], words: list[str]) -> Iterator[tuple[tuple[str, ...], list[dict[str, str]]]]:
    keys = list(dict.fromkeys(tuple(row[name] for name in words) for row in rows))
    for key in keys:
        yield key, [row for row in rows if tuple(row[name] for name in words) == key]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _words(name: str) -> str:
    return name.replace("_", " ")
