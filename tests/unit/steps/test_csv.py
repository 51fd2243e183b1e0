from pathlib import Path

from patchcore.steps.csv import write_table


def test_a_table_is_its_columns_and_rows_with_newlines_alone(tmp_path: Path) -> None:
    write_table(tmp_path / "new" / "table.csv", ("path", "score"), [("a, b.png", 0.1), ("c.png", 2)])
    assert (tmp_path / "new" / "table.csv").read_bytes() == b'path,score\n"a, b.png",0.1\nc.png,2\n'
