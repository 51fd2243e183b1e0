"""Tables of records as Parquet or CSV files.

Values are those in the database, so the digests of the records stay the same. In CSV, text is quoted and a missing
value is empty, so an empty text differs from a missing one.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from patchcore.errors import InvalidExport

if TYPE_CHECKING:
    import pyarrow as pa

FileFormat = Literal["parquet", "csv"]
ColumnType = Literal["int64", "float64", "string"]
Columns = Mapping[str, ColumnType]
COLUMN_TYPES: tuple[str, ...] = get_args(ColumnType)

_AT_ONCE = 50_000  # rows per group: limits memory


def write_table(path: Path, columns: Columns, rows: Iterable[Sequence[Any]]) -> int:
    """Write rows to a file. It is not written in one step: the caller makes it visible when it is complete.

    Args:
        path: A .parquet or .csv file.
        columns: The type of each column by its name.
        rows: The values in the order of the columns; None where a value is missing.

    Returns:
        The number of rows.
    """
    import pyarrow as pa

    schema = pa.schema([(name, getattr(pa, kind)()) for name, kind in columns.items()])
    remaining, count = iter(rows), 0
    with _writer(path, schema) as writer:
        while some := list(islice(remaining, _AT_ONCE)):
            arrays = [
                pa.array(values, field.type) for values, field in zip(zip(*some, strict=True), schema, strict=True)
            ]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema))
            count += len(some)
    return count


def read_table(path: Path, columns: Columns, where: tuple[str, str | int] | None = None) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of a file that `write_table` wrote.

    Args:
        path: The file.
        columns: The type of each column by its name, as it was written.
        where: A column name and a value: only rows with that value are read. For .parquet files only.

    Raises:
        InvalidExport: The file is missing, cannot be read, or does not have exactly these columns.
    """
    import pyarrow as pa

    try:
        if (present := sorted(_column_names(path))) != sorted(columns):
            raise KeyError(f"columns {', '.join(present)}")
        for batch in _batches(path, columns) if where is None else _matching(path, columns, where):
            yield from zip(*(batch.column(name).to_pylist() for name in columns), strict=True)
    except (OSError, pa.ArrowException, KeyError, UnicodeDecodeError) as error:
        raise InvalidExport(
            f"exported table {path}",
            got=str(error).partition("\n")[0],
            expected=f"columns {', '.join(columns)}",
            remedy="the file was altered: restore it from a copy",
        ) from error


def _writer(path: Path, schema: "pa.Schema") -> Any:
    from pyarrow import csv, parquet

    if path.suffix == ".csv":
        return csv.CSVWriter(path, schema)
    return parquet.ParquetWriter(path, schema, compression="zstd")


def _column_names(path: Path) -> list[str]:
    from pyarrow import csv, parquet

    if path.suffix == ".csv":
        with csv.open_csv(path, parse_options=csv.ParseOptions(newlines_in_values=True)) as stream:
            return list(stream.schema.names)
    return list(parquet.read_schema(path).names)


def _batches(path: Path, columns: Columns) -> Iterator["pa.RecordBatch"]:
    import pyarrow as pa
    from pyarrow import csv, parquet

    if path.suffix == ".csv":
        types = {name: getattr(pa, kind)() for name, kind in columns.items()}
        # Text is quoted and a missing value is empty: so an empty text differs from a missing one.
        convert = csv.ConvertOptions(
            column_types=types, null_values=[""], strings_can_be_null=True, quoted_strings_can_be_null=False
        )
        with csv.open_csv(
            path, parse_options=csv.ParseOptions(newlines_in_values=True), convert_options=convert
        ) as stream:
            yield from stream
    else:
        with parquet.ParquetFile(path) as file:
            yield from file.iter_batches(batch_size=_AT_ONCE, columns=list(columns))


def _matching(path: Path, columns: Columns, where: tuple[str, str | int]) -> Iterator["pa.RecordBatch"]:
    from pyarrow import parquet

    name, value = where
    found = parquet.read_table(path, columns=list(columns), filters=[(name, "==", value)])
    yield from found.to_batches()
