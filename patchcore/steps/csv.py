"""The tables that stages write: CSV with the same bytes on every machine."""

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from patchcore._util.files import write_bytes


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a table in one step: a line with the names of the columns, then the rows.

    Args:
        path: The file; an older one is replaced.
        columns: The names of the columns.
        rows: One value per column.
    """
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    write_bytes(path, table.getvalue().encode())
