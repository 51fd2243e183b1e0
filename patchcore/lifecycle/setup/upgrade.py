"""Bringing a workspace that an earlier version made up to date.

Each file is written in one step and each database changes in one transaction, the files first. So a second run changes
nothing, and a run after a crash completes the first. Banks, data and records are not changed.
"""

import difflib
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from patchcore._util.files import write_bytes
from patchcore.adapters import ledger
from patchcore.adapters.ledger.database import REVISION
from patchcore.adapters.mlflow import schema as mlflow_schema
from patchcore.adapters.mlflow.registry import open_registry
from patchcore.adapters.versioning.repository import Versioning
from patchcore.config.params import parse_params
from patchcore.config.params_file import with_missing_keys
from patchcore.config.pipeline import read_pipeline
from patchcore.config.workspace import Workspace
from patchcore.lifecycle.services import alone_in
from patchcore.lifecycle.setup.results import FileChange, SchemaChange, Upgraded
from patchcore.lifecycle.setup.templates import ignore_text, pipeline_text


@dataclass(frozen=True)
class _Edit:
    """A file, its text, and the text that it gets; None where it is removed."""

    path: Path
    before: str
    after: str | None


def upgrade(workspace: Workspace, *, dry_run: bool = False) -> Upgraded:
    """Bring a workspace up to date, or say with ``dry_run`` what would change.

    dvc.yaml gets the stages of this version and keeps a person's own; params.yaml gets the parameters that it leaves
    out, at their defaults; .gitignore and the link to the code lose what version 0.1.0 needed; the tables of ledger and
    MLflow get their present revision. Git commits the files where params.yaml says so.

    Args:
        workspace: The workspace.
        dry_run: Change nothing.

    Raises:
        InvalidParams: params.yaml cannot be read.
        InvalidPipeline: dvc.yaml cannot be read.
        LedgerOutdated: A version that is not known wrote the ledger.
        Fault: A file or database cannot be written.
    """
    if dry_run:
        return _changes(workspace, _edits(workspace), list(_schemas(workspace)), dry_run=True)
    params = parse_params(workspace.params.read_text(encoding="utf-8"), workspace.params)
    with alone_in(workspace, params):
        edits, schemas = _edits(workspace), list(_schemas(workspace))
        for edit in edits:
            _carry_out(edit)
        for change in schemas:
            _migrate(workspace, change)
        commit = _commit(workspace, edits) if params.versioning.commit else None
        return _changes(workspace, edits, schemas, commit=commit)


def _edits(workspace: Workspace) -> list[_Edit]:
    """Return the files that change, in the order in which they do: the link before the line that ignores it."""
    link = workspace.code_link
    edits = [_Edit(link, "", None)] if link.is_symlink() else []
    for file, upgraded in _upgraded_files(workspace):
        before = _text(file)
        if (after := upgraded(before)) != before:
            edits.append(_Edit(file, before, after))
    return edits


def _upgraded_files(workspace: Workspace) -> tuple[tuple[Path, Callable[[str], str]], ...]:
    """Return each file that git keeps, and what makes the text of this version out of an earlier one."""
    is_code = workspace.code_link.is_dir() and not workspace.code_link.is_symlink()
    return (
        (workspace.pipeline, partial(_upgraded_pipeline, workspace=workspace)),
        (workspace.params, partial(with_missing_keys, path=workspace.params)),
        (workspace.ignore_file, partial(ignore_text, keep_link=is_code)),
    )


def _upgraded_pipeline(text: str, workspace: Workspace) -> str:
    """Return dvc.yaml with the stages of this version, then a person's own stages and keys."""
    template = pipeline_text()
    ours, present = read_pipeline(template, workspace), read_pipeline(text, workspace)
    own_stages = [name for name in present["stages"] if name not in ours["stages"]]
    own_keys = [key for key in present if key != "stages"]
    if not own_stages and not own_keys:
        return template
    if all(present["stages"].get(name) == stage for name, stage in ours["stages"].items()):
        return text
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.width = 4096
    yaml.preserve_quotes = True
    yaml.indent(mapping=2, sequence=4, offset=2)
    document, theirs = yaml.load(template), yaml.load(text)
    for name in own_stages:
        document["stages"][name] = theirs["stages"][name]
    for key in own_keys:
        document[key] = theirs[key]
    stream = io.BytesIO()
    yaml.dump(document, stream)
    return stream.getvalue().decode()


def _schemas(workspace: Workspace) -> Iterator[SchemaChange]:
    """Yield the databases whose tables have another revision; a database that does not exist yet is passed over."""
    present = ledger.revision(workspace)
    if present not in {None, REVISION}:
        yield SchemaChange(database="ledger", before=str(present), after=REVISION)
    found = mlflow_schema.revisions(open_registry(workspace).tracking_uri)
    if found is not None and found.present != found.latest:
        yield SchemaChange(database="mlflow", before=found.present, after=found.latest)


def _migrate(workspace: Workspace, change: SchemaChange) -> None:
    if change.database == "ledger":
        ledger.migrate(ledger.ledger_url(workspace))
    else:
        mlflow_schema.upgrade(open_registry(workspace).tracking_uri)


def _carry_out(edit: _Edit) -> None:
    if edit.after is None:
        edit.path.unlink(missing_ok=True)
    else:
        write_bytes(edit.path, edit.after.encode())


def _commit(workspace: Workspace, edits: list[_Edit]) -> str | None:
    """Commit the files that changed now, and those that an earlier run changed before it was killed."""
    versioning = Versioning(workspace)
    files = [edit.path for edit in edits if edit.after is not None]
    for file, upgraded in _upgraded_files(workspace):
        committed = versioning.committed_text(file)
        if file not in files and committed is not None and upgraded(committed) == _text(file):
            files.append(file)
    return versioning.commit(files, "Upgrade the workspace") if files else None


def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8") if file.is_file() else ""


def _changes(
    workspace: Workspace,
    edits: list[_Edit],
    schemas: list[SchemaChange],
    *,
    dry_run: bool = False,
    commit: str | None = None,
) -> Upgraded:
    return Upgraded(
        workspace=str(workspace.root),
        dry_run=dry_run,
        files=tuple(_file_change(workspace, edit) for edit in edits),
        schemas=tuple(schemas),
        commit=commit,
    )


def _file_change(workspace: Workspace, edit: _Edit) -> FileChange:
    path = workspace.relative(edit.path)
    if edit.after is None:
        return FileChange(path=path, action="remove", diff="")
    lines = (edit.before.splitlines(keepends=True), edit.after.splitlines(keepends=True))
    diff = "".join(difflib.unified_diff(*lines, f"a/{path}", f"b/{path}"))
    return FileChange(path=path, action="write", diff=diff)
