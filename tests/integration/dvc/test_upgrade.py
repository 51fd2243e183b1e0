"""`patchcore upgrade` of a workspace of version 0.1.0: what changes, what stays, and that a kill does no harm."""

import json
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from patchcore._util.files import sha256_of
from patchcore.adapters import ledger
from patchcore.adapters.ledger.database import REVISION
from patchcore.adapters.mlflow import schema as mlflow_schema
from patchcore.adapters.versioning.repository import Versioning
from patchcore.config.params import load_params
from patchcore.config.pipeline import check_pipeline
from patchcore.config.workspace import Workspace
from patchcore.errors import InvalidPipeline, WorkspaceOutdated
from patchcore.lifecycle.setup import upgrade as upgrading
from patchcore.lifecycle.setup.upgrade import upgrade
from tests.support.frozen_workspace import unpack
from tests.support.places import REPOSITORY

TEMPLATE = (REPOSITORY / "dvc.yaml").read_text(encoding="utf-8")


@pytest.fixture(autouse=True)
def _own_services(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MLFLOW_TRACKING_URI", "PATCHCORE_LEDGER_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def frozen(tmp_path: Path) -> Workspace:
    return Workspace(unpack(tmp_path / "workspace"))


def content(workspace: Workspace) -> dict[str, str]:
    """Return the digests of every file, but for git's and those that say that somebody is at work."""
    files = {file.relative_to(workspace.root): file for file in workspace.root.rglob("*") if file.is_file()}
    names = {name: file for name, file in files.items() if name.parts[0] != ".git" and name.name != "lock"}
    return {name.as_posix(): sha256_of(file) for name, file in sorted(names.items())}


def git(workspace: Workspace, *arguments: str) -> str:
    command = ["git", "-C", str(workspace.root), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_a_dry_run_shows_what_changes_and_changes_nothing(frozen: Workspace) -> None:
    before, link = content(frozen), frozen.code_link.is_symlink()
    shown = upgrade(frozen, dry_run=True)
    assert (content(frozen), frozen.code_link.is_symlink()) == (before, link)
    assert [(file.path, file.action) for file in shown.files] == [
        ("patchcore", "remove"),
        ("dvc.yaml", "write"),
        (".gitignore", "write"),
    ]
    assert (shown.dry_run, shown.commit) == (True, None)
    assert "-      - patchcore/errors.py" in shown.files[1].diff.splitlines()
    assert "+      - work/fingerprints/build.json" in shown.files[1].diff.splitlines()
    assert [(each.database, each.before, each.after) for each in shown.schemas] == [("ledger", "0003", REVISION)]


def test_an_upgrade_changes_what_it_showed_and_a_second_one_changes_nothing(frozen: Workspace) -> None:
    with pytest.raises(WorkspaceOutdated, match="run: patchcore upgrade"):
        check_pipeline(frozen)
    before, head = content(frozen), git(frozen, "rev-parse", "HEAD")
    shown = upgrade(frozen, dry_run=True)
    done = upgrade(frozen)
    assert (done.files, done.schemas, done.dry_run) == (shown.files, shown.schemas, False)
    check_pipeline(frozen)
    assert frozen.pipeline.read_text(encoding="utf-8") == TEMPLATE
    assert not frozen.code_link.is_symlink()
    assert ledger.revision(frozen) == REVISION
    after = content(frozen)
    changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    assert changed == {"dvc.yaml", ".gitignore", ".patchcore/ledger.db"}  # no bank, no image
    assert done.commit == git(frozen, "rev-parse", "HEAD").strip()
    assert git(frozen, "rev-parse", "HEAD~1") == head
    assert git(frozen, "show", "--stat", "--format=%s", "HEAD").startswith("Upgrade the workspace\n")
    again = upgrade(frozen)
    assert (again.files, again.schemas, again.commit) == ((), (), None)
    assert content(frozen) == after


class Crash(BaseException):
    """A process that is killed: nothing catches it."""


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", ["remove the link", "dvc.yaml", ".gitignore", "ledger", "commit"])
def test_the_next_run_completes_an_upgrade_that_was_killed(
    frozen: Workspace, monkeypatch: pytest.MonkeyPatch, step: str, when: str
) -> None:
    expected = {"dvc.yaml": TEMPLATE, ".gitignore": frozen.ignore_file.read_text().replace("/patchcore\n", "")}
    head = git(frozen, "rev-parse", "HEAD")

    def killed(original: Callable[..., object], is_it: Callable[..., bool]) -> Callable[..., object]:
        def call(*arguments: object, **named: object) -> object:
            if is_it(*arguments) and when == "before":
                raise Crash
            value = original(*arguments, **named)
            if is_it(*arguments):
                raise Crash
            return value

        return call

    with monkeypatch.context() as patch:
        if step == "commit":
            patch.setattr(Versioning, "commit", killed(Versioning.commit, lambda *_: True))
        elif step == "ledger":
            patch.setattr(ledger, "migrate", killed(ledger.migrate, lambda *_: True))
        else:
            name = "patchcore" if step == "remove the link" else step
            carry_out = upgrading._carry_out
            patch.setattr(upgrading, "_carry_out", killed(carry_out, lambda edit: edit.path.name == name))
        with pytest.raises(Crash):
            upgrade(frozen)
    upgrade(frozen)
    assert {name: (frozen.root / name).read_text(encoding="utf-8") for name in expected} == expected
    assert (ledger.revision(frozen), frozen.code_link.is_symlink()) == (REVISION, False)
    assert git(frozen, "rev-parse", "HEAD~1") == head  # one commit, whenever it was killed
    assert git(frozen, "status", "--porcelain", "--untracked-files=no") == ""


def test_without_commits_git_is_left_alone(frozen: Workspace) -> None:
    frozen.params.write_text(frozen.params.read_text().replace("commit: true ", "commit: false"))
    head = git(frozen, "rev-parse", "HEAD")
    assert upgrade(frozen).commit is None
    assert git(frozen, "rev-parse", "HEAD") == head


def test_a_persons_own_stages_and_keys_stay(frozen: Workspace) -> None:
    own = "  own:\n    # counts the images\n    cmd: ls data > count.txt\n    outs:\n      - count.txt\n"
    text = frozen.pipeline.read_text(encoding="utf-8") + f"\n{own}\nplots:\n  - count.csv:\n      x: week\n"
    frozen.pipeline.write_text(text, encoding="utf-8")
    upgrade(frozen)
    after = frozen.pipeline.read_text(encoding="utf-8")
    assert after.startswith(TEMPLATE.rstrip())
    for line in (*own.splitlines(), "plots:", "  - count.csv:", "      x: week"):
        assert line in after.splitlines()
    check_pipeline(frozen)
    assert upgrade(frozen).files == ()


def test_parameters_that_are_left_out_are_added_with_their_descriptions_and_values_stay(frozen: Workspace) -> None:
    lines = frozen.params.read_text(encoding="utf-8").splitlines(keepends=True)
    kept = "".join(line for line in lines if "second_person" not in line and "neighbours" not in line)
    frozen.params.write_text(kept, encoding="utf-8")
    before = load_params(frozen.params)
    assert before.extract.image_size == 64
    upgrade(frozen)
    after = frozen.params.read_text(encoding="utf-8")
    assert load_params(frozen.params) == before
    assert "  neighbours: 1                 # 1: the largest patch distance" in after
    assert all(line in after.splitlines(keepends=True) for line in kept.splitlines(keepends=True))


def test_a_pipeline_that_cannot_be_read_is_refused_and_nothing_changes(frozen: Workspace) -> None:
    for text in ("stages: [\n", "stages: none\n", ""):
        frozen.pipeline.write_text(text, encoding="utf-8")
        before = content(frozen)
        with pytest.raises(InvalidPipeline, match=r"git checkout dvc\.yaml"):
            upgrade(frozen)
        assert (content(frozen), frozen.code_link.is_symlink()) == (before, True)


def test_a_workspace_without_ledger_and_mlflow_gets_none(frozen: Workspace) -> None:
    frozen.ledger.unlink()
    frozen.registry.unlink()
    assert upgrade(frozen).schemas == ()
    assert not frozen.ledger.exists()
    assert not frozen.registry.exists()


@pytest.fixture
def old_mlflow(frozen: Workspace) -> Workspace:
    """MLflow's database one revision back, as an earlier release of MLflow leaves it."""
    from alembic.script import ScriptDirectory
    from mlflow.store.db import utils

    config = utils._get_alembic_config(f"sqlite:///{frozen.registry}")  # type: ignore[no-untyped-call]
    script = ScriptDirectory.from_config(config)
    head = script.get_current_head()
    assert head is not None
    revision = script.get_revision(head)
    assert revision is not None
    with closing(sqlite3.connect(frozen.registry)) as database, database:
        database.execute("UPDATE alembic_version SET version_num = ?", (str(revision.down_revision),))
    return frozen


def test_an_interrupted_change_of_mlflows_tables_leaves_them_as_they_were(
    old_mlflow: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri, before = f"sqlite:///{old_mlflow.registry}", sha256_of(old_mlflow.registry)
    found = mlflow_schema.revisions(uri)
    assert found is not None
    assert found.present != found.latest

    def crash(_: str) -> None:
        raise Crash

    with monkeypatch.context() as patch:
        patch.setattr(mlflow_schema, "_upgrade", crash)
        with pytest.raises(Crash):
            mlflow_schema.upgrade(uri)
    assert sha256_of(old_mlflow.registry) == before
    assert sorted(old_mlflow.registry.parent.glob("*.upgrade")) == []


def test_the_result_is_json(frozen: Workspace) -> None:
    shown = json.loads(upgrade(frozen, dry_run=True).model_dump_json())
    assert set(shown) == {"workspace", "dry_run", "files", "schemas", "commit"}
