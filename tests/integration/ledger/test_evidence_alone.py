"""An export verifies in a process that has pyarrow and cryptography, and nothing else besides Python itself."""

import json
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from patchcore.adapters.ledger import Ledger
from patchcore.adapters.ledger.exports import columns_of
from patchcore.evidence.anchors import Anchor
from patchcore.evidence.export import write_export
from patchcore.evidence.export_tables import read_table, write_table
from patchcore.evidence.export_verification import verify_export
from patchcore.lifecycle.evidence.anchoring import anchor_text
from tests.support.ledgers import fill

ALONE = """
import importlib.abc, importlib.machinery, sys

ALLOWED = {"patchcore", "pyarrow", "cryptography", "cffi", "_cffi_backend"} | sys.stdlib_module_names
OUTSIDE = {"patchcore.evidence", "patchcore.errors", "patchcore._util"}

class Blocked(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in ALLOWED:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        if name.startswith("patchcore.") and not any(f"{name}.".startswith(f"{each}.") for each in OUTSIDE):
            raise AssertionError(f"the rest of the library is imported: {name}")

sys.meta_path.insert(0, Blocked())
"""
"""Blocks the import of every other distribution, as if it were not installed, and of the rest of this library."""


@pytest.fixture(scope="module", params=["parquet", "csv"])
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an export of a whole ledger and its anchor."""
    folder, file_format = tmp_path_factory.mktemp("alone"), request.param
    ledger = fill(Ledger(f"sqlite:///{folder / 'ledger.db'}"))
    checkpoint = ledger.checkpoint()
    with ledger.tables(up_to=checkpoint.sequence) as tables:
        write_export(folder / "export", tables, {"complete": True, "checkpoint": asdict(checkpoint)}, file_format)
    (folder / "anchors.jsonl").write_text(anchor_text(checkpoint) + "\n")
    return folder


def alone(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh interpreter where only pyarrow and cryptography can be imported."""
    command = [sys.executable, "-c", ALONE + code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_an_export_verifies_with_only_pyarrow_and_cryptography(exported: Path) -> None:
    code = (
        "from pathlib import Path\n"
        "from patchcore.evidence import read_anchors, verify_export\n"
        "known = read_anchors(Path(sys.argv[2])).anchors\n"
        "result = verify_export(Path(sys.argv[1]), known)\n"
        "print(result.ok, result.records, result.checked, result.anchors, result.problems, result.notes)\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules} & {'numpy', 'pandas', 'pydantic'}))\n"
    )
    done = alone(code, exported / "export", exported / "anchors.jsonl")
    assert done.returncode == 0, done.stderr
    result, imported = done.stdout.split("\n")[:2]
    (anchor,) = (exported / "anchors.jsonl").read_text().splitlines()
    size = json.loads(anchor)["size"] + 1  # the checkpoint's own record
    assert (result, imported) == (f"True {size} {size} 1 () ()", "")


def test_the_command_of_the_package_verifies_alone_too(exported: Path, tmp_path: Path) -> None:
    code = (
        "import runpy\n"
        "sys.argv = ['patchcore.evidence', *sys.argv[1:]]\n"
        "runpy.run_module('patchcore.evidence', run_name='__main__', alter_sys=True)\n"
    )
    done = alone(code, exported / "export", "--anchor", exported / "anchors.jsonl")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["ok"] is True
    copy = Path(shutil.copytree(exported / "export", tmp_path / "copy"))
    (file,) = copy.glob("images.*")
    columns = columns_of("images")
    rows = [dict(zip(columns, row, strict=True)) for row in read_table(file, columns)]
    rows[0]["score"] = 0.25
    write_table(file, columns, [tuple(row.values()) for row in rows])
    done = alone(code, copy, "--anchor", exported / "anchors.jsonl")
    assert done.returncode == 3
    value = json.loads(done.stdout)
    assert (value["ok"], value["first_bad"]) == (False, rows[0]["sequence"])
    done = alone(code, tmp_path)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith("error: ")
    assert "is not an export of a ledger" in done.stderr
    assert alone(code).returncode == 2


def test_an_export_contradicts_an_anchor_of_another_ledger(exported: Path) -> None:
    other = Anchor("the newspaper", 2, "0" * 64, "0" * 64)
    result = verify_export(exported / "export", [other])
    assert not result.ok
    assert "the newspaper names another hash for record 2" in result.problems[0]
