"""Fixtures of the tests of flows and commands: the command line in process, and a small category of real solar cells.

The category is built once, however many workers pytest-xdist has: each takes a copy for its session. Tests that change
a workspace take a copy of that. One Prefect home serves all tests of a worker.
"""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path
from subprocess import CompletedProcess
from typing import TextIO

import pytest
from filelock import FileLock
from jsonschema import Draft202012Validator

from patchcore.cli.app import run as run_command
from patchcore.cli.demo.data import DemoImages, choose_images, drop_new, fill_batch, lay_out
from patchcore.cli.schemas import MODELS, schema_of
from patchcore.config.workspace import Workspace

Done = CompletedProcess[str]
Run = Callable[..., Done]
Copy = Callable[[Workspace, Path], Workspace]

_SMALL = {
    "image_size: 224": "image_size: 96",
    "coreset_ratio: 0.01": "coreset_ratio: 0.1",
    "image_auroc_at_least: 0.9": "image_auroc_at_least: 0.5",
    "image_auroc_drop_at_most: 0.01": "image_auroc_drop_at_most: 0.4",
    "  normals_at_least: 10          # evaluation": "  normals_at_least: 6          # evaluation",
    "defects_at_least: 10": "defects_at_least: 6",
}
# Settings that lead to services elsewhere, and the width of a terminal, which the workers of pytest-xdist make up.
_ELSEWHERE = ("MLFLOW_TRACKING_URI", "PATCHCORE_LEDGER_URL", "PATCHCORE_WORKSPACE", "PREFECT_API_URL", "COLUMNS")
_MLFLOW_PLACES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)


@pytest.fixture(scope="session")
def _own_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in _ELSEWHERE:
            patch.delenv(name, raising=False)
        patch.setenv("PREFECT_HOME", str(tmp_path_factory.mktemp("prefect")))
        patch.setenv("PATCHCORE_USER", "tester")
        yield


@pytest.fixture(scope="session")
def run(_own_environment: None, prefect_server: str) -> Iterator[Run]:
    """Run a command in this process: its output and its exit code. Its flows are runs of the session's Prefect."""

    def run_in_process(*arguments: object) -> Done:
        words = [str(argument) for argument in arguments]
        done = _caught(lambda: run_command(words))
        _require_schema(words, done.stdout)
        return done

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFECT_API_URL", prefect_server)
        yield run_in_process


def without_prefect() -> dict[str, str]:
    """Return this environment without the setting of a Prefect server: each command starts one of its own."""
    return {name: value for name, value in os.environ.items() if name not in {"PREFECT_API_URL", "PREFECT_HOME"}}


def _require_schema(words: list[str], stdout: str) -> None:
    """Check the JSON that a command printed against the command's schema in the docs."""
    command = max((name for name in MODELS if words[: len(name.split())] == name.split()), key=len, default=None)
    if command and "--json" in words:
        _validator(command).validate(json.loads(stdout))


@cache
def _validator(command: str) -> Draft202012Validator:
    return Draft202012Validator(schema_of(command))


@pytest.fixture(scope="session")
def caught() -> Callable[[Callable[[], int]], Done]:
    """Call a function that returns an exit code, and catch all that reaches stdout and stderr meanwhile."""
    return _caught


def _caught(function: Callable[[], int]) -> Done:
    with _redirected(1, "stdout") as stdout, _redirected(2, "stderr") as stderr:
        code = function()
    return CompletedProcess([], code, stdout.read(), stderr.read())


@contextmanager
def _redirected(descriptor: int, name: str) -> Iterator[TextIO]:
    """Send a stream of this process to a file, for libraries and child processes too: pytest's capture lets some by."""
    kept, before = os.dup(descriptor), getattr(sys, name)
    file = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115  # the caller reads it after the block
    os.dup2(file.fileno(), descriptor)
    # Never closed: a logger that keeps it must not fail later.
    setattr(sys, name, open(descriptor, "w", encoding="utf-8", closefd=False))  # noqa: SIM115
    try:
        yield file
    finally:
        getattr(sys, name).flush()
        setattr(sys, name, before)
        os.dup2(kept, descriptor)
        os.close(kept)
        file.seek(0)


@pytest.fixture(scope="session")
def cells() -> DemoImages:
    """24 normal cells, 6 new normal ones, 6 good and 6 defective ones for evaluation, two batches of 4 and 4."""
    images = choose_images("mono", seed=0)
    evaluation = {label: images.evaluation[label][:6] for label in ("good", "defective")}
    return DemoImages(images.first[:24], images.new[:6], evaluation, [batch[14:22] for batch in images.batches])


@pytest.fixture(scope="session")
def bare(run: Run, cells: DemoImages, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace with the category `cell`, nothing built yet. Not to be changed: `copy` it."""

    def make(workspace: Workspace) -> list[Done]:
        pictures = workspace.root.parent / "cells"
        lay_out(cells, pictures)
        created = run("init", workspace.root)
        text = workspace.params.read_text()
        for old, new in _SMALL.items():
            assert old in text
            text = text.replace(old, new)
        workspace.params.write_text(text)
        return _all_done([created, run("add", "cell", pictures, "-w", workspace.root)])

    return made_once(tmp_path_factory, "bare", make)[0]


@pytest.fixture(scope="session")
def first_retrain(bare: Workspace, tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, Done]:
    """The first `patchcore retrain cell --json`, as a process of its own, and the workspace after it."""

    def make(workspace: Workspace) -> list[Done]:
        _copy(bare, workspace.root)
        command = [str(Path(sys.executable).with_name("patchcore")), "retrain", "cell", "--json"]
        own = without_prefect()
        return [subprocess.run(command, cwd=workspace.root, env=own, capture_output=True, text=True, check=False)]

    workspace, (done,) = made_once(tmp_path_factory, "promoted", make)
    return workspace, done


@pytest.fixture(scope="session")
def promoted(first_retrain: tuple[Workspace, Done]) -> Workspace:
    """A workspace with bank version 1 of `cell` in production. Not to be changed: `copy` it."""
    workspace, done = first_retrain
    assert done.returncode == 0, done.stderr
    return workspace


@pytest.fixture(scope="session")
def grown(
    promoted: Workspace, run: Run, cells: DemoImages, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Workspace, list[Done]]:
    """A copy of `promoted` after four more commands, and their output. Not to be changed: `copy` it.

    Batch first was scored; new images came, good and bad ones; bank version 2 replaced version 1; batch second was
    scored.
    """

    def make(workspace: Workspace) -> list[Done]:
        _copy(promoted, workspace.root)
        drop_new(cells, workspace.drop("cell"))
        folder = workspace.root.parent
        for name, images in zip(("first", "second"), cells.batches, strict=True):
            fill_batch(images, folder / name)
        commands = (
            ("score", "cell", folder / "first", "--batch", "first"),
            ("ingest", "cell"),
            ("retrain", "cell"),
            ("score", "cell", folder / "second", "--batch", "second"),
        )
        return _all_done([run(*words, "--json", "-w", workspace.root) for words in commands])

    return made_once(tmp_path_factory, "grown", make)


@pytest.fixture
def workspace(promoted: Workspace, tmp_path: Path) -> Workspace:
    """A copy of `promoted` that a test may change."""
    return _copy(promoted, tmp_path / "workspace")


@pytest.fixture(scope="session")
def copy() -> Copy:
    """Copy a workspace to a folder that does not exist yet."""
    return _copy


def _copy(source: Workspace, target: Path) -> Workspace:
    shutil.copytree(source.root, target, symlinks=True)
    return _at_home(Workspace(target), source)


def _at_home(copy: Workspace, source: Workspace) -> Workspace:
    """Let the absolute paths that MLflow keeps lead to the copy."""
    if copy.registry.exists():
        with closing(sqlite3.connect(copy.registry)) as database, database:
            for table, column in _MLFLOW_PLACES:
                change = f"UPDATE {table} SET {column} = replace({column}, ?, ?)"  # noqa: S608  # names of our own
                database.execute(change, (str(source.root), str(copy.root)))
    return copy


def made_once(
    factory: pytest.TempPathFactory, name: str, make: Callable[[Workspace], list[Done]]
) -> tuple[Workspace, list[Done]]:
    """Return a copy of a workspace that the first worker to ask makes for all, and what its commands said.

    Args:
        factory: knows the folder that all workers share.
        name: of the workspace's own folder below that; what `make` puts beside the workspace is copied too.
        make: makes the workspace in the given folder.
    """
    own = factory.getbasetemp()
    common = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    folder, said = common / name, common / f"{name}.json"
    with FileLock(common / f"{name}.lock"):
        if not said.exists():  # no worker has made it, or it failed
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            said.write_text(json.dumps([vars(done) for done in make(Workspace(folder / "workspace"))]))
        copied = Path(shutil.copytree(folder, factory.mktemp(name) / "copy", symlinks=True))
    done = [CompletedProcess[str](**each) for each in json.loads(said.read_text())]
    return _at_home(Workspace(copied / "workspace"), Workspace(folder / "workspace")), done


def _all_done(commands: list[Done]) -> list[Done]:
    assert not any(each.returncode for each in commands), [each.stderr for each in commands]
    return commands
