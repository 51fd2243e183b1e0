import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import patchcore.__main__ as entry
from patchcore._util.files import read_json, sha256_of, write_json
from patchcore.config.workspace import Workspace
from patchcore.dataset.manifest import read_manifest


def content(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): sha256_of(path) for path in folder.rglob("*") if path.is_file()}


def test_the_process_entry_does_what_the_function_does(copied_category: Workspace) -> None:
    before = content(copied_category.bank("part"))
    shutil.rmtree(copied_category.bank("part"))
    command = [sys.executable, "-m", "patchcore", "build", "--category", "part"]
    done = subprocess.run(command, cwd=copied_category.root, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
    assert content(copied_category.bank("part")) == before


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (
            ["build", "--category", "nope"],
            3,
            "error: no category 'nope' in params.yaml: got 'nope', expected one of part",
        ),
        (["build"], 2, "usage: python -m patchcore"),
        (["paint", "--category", "part"], 2, "invalid choice"),
    ],
)
def test_exit_codes(
    copied_category: Workspace,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    message: str,
) -> None:
    monkeypatch.chdir(copied_category.root)
    monkeypatch.delenv("PATCHCORE_ERROR_FILE", raising=False)
    try:
        returned = entry.main(arguments)
    except SystemExit as stopped:  # argparse
        returned = int(str(stopped.code))
    said = capsys.readouterr()
    assert (returned, said.out) == (code, "")
    assert message in said.err
    assert code == 2 or said.err.count("\n") == 1


def test_exit_codes_of_a_fault_and_of_a_surprise(
    copied_category: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(copied_category.root)
    monkeypatch.delenv("PATCHCORE_ERROR_FILE", raising=False)
    index = read_json(copied_category.features_index("part"))
    index["features"] = dict.fromkeys(index["features"], "0" * 64)
    write_json(copied_category.features_index("part"), index)
    assert entry.main(["build", "--category", "part"]) == 1
    assert capsys.readouterr().err.startswith("error: the features of image ")
    copied_category.features_index("part").unlink()
    assert entry.main(["build", "--category", "part"]) == 1
    said = capsys.readouterr().err
    assert "Traceback" in said
    assert said.splitlines()[-1].startswith("error: the step build failed: got FileNotFoundError")


def test_an_error_is_handed_to_the_flow_that_waits_for_it(
    copied_category: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(copied_category.root)
    monkeypatch.setenv("PATCHCORE_ERROR_FILE", str(tmp_path / "error.json"))
    broken = copied_category.root / read_manifest(copied_category.manifest("part")).normals[0].path
    broken.write_bytes(b"no image")
    shutil.rmtree(copied_category.feature_store)
    assert entry.main(["extract", "--category", "part"]) == 3
    told = read_json(tmp_path / "error.json")
    assert told["code"] == "unreadable-image"
    assert broken.name in told["what"]
    assert set(told) == {"code", "what", "got", "expected", "remedy"}
    assert "error:" not in capsys.readouterr().err


@pytest.mark.parametrize("missing", ["params.yaml", "dvc.yaml"])
def test_outside_a_workspace_nothing_runs(
    copied_category: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], missing: str
) -> None:
    monkeypatch.chdir(copied_category.root)
    monkeypatch.delenv("PATCHCORE_ERROR_FILE", raising=False)
    monkeypatch.delenv("PATCHCORE_WORKSPACE", raising=False)
    os.remove(missing)  # noqa: PTH107
    assert entry.main(["build", "--category", "part"]) == 3
    assert "no workspace in" in capsys.readouterr().err


def test_a_stage_works_where_it_is_run_whatever_workspace_the_environment_names(
    copied_category: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Workspace(tmp_path / "other")
    shutil.copytree(copied_category.root, other.root)
    shutil.rmtree(copied_category.bank("part"))
    before = content(other.root)
    monkeypatch.setenv("PATCHCORE_WORKSPACE", str(other.root))
    monkeypatch.chdir(copied_category.root)
    assert entry.main(["build", "--category", "part"]) == 0
    assert copied_category.bank("part").is_dir()
    assert content(other.root) == before
