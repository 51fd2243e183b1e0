"""What the commands that set up a workspace report."""

from typing import Literal

from patchcore._util.model import Model


class Initialised(Model):
    """A folder that is a workspace now.

    Attributes:
        workspace: The folder.
    """

    workspace: str


class Added(Model):
    """A category that was taken in.

    Attributes:
        category: Its name.
        normals: Files in train/good.
        evaluation_images: Files in the folders of test.
        masks: Files in the folders of ground_truth.
        commit: The git commit, 40 hexadecimal digits; None where params.yaml says not to commit.
        dataset_version: The number of its data-set version.
        dataset_sha256: The sha256 of that version's manifest.
    """

    category: str
    normals: int
    evaluation_images: int
    masks: int
    commit: str | None
    dataset_version: int
    dataset_sha256: str


class Migrated(Model):
    """The ledger's tables after a migration.

    Attributes:
        revision: Their revision.
    """

    revision: str


class FileChange(Model):
    """A file of the workspace that an upgrade changes.

    Attributes:
        path: Below the workspace.
        action: Whether it is written or removed.
        diff: The unified diff; empty where a link is removed.
    """

    path: str
    action: Literal["write", "remove"]
    diff: str


class SchemaChange(Model):
    """Database tables that an upgrade brings to another revision.

    Attributes:
        database: Whose tables.
        before: The revision that they had.
        after: The revision that they have afterwards.
    """

    database: Literal["ledger", "mlflow"]
    before: str
    after: str


class Upgraded(Model):
    """What an upgrade changed, or with ``dry_run`` would change. Nothing, where the workspace is up to date.

    Attributes:
        workspace: The folder.
        dry_run: Whether nothing was changed.
        files: The files that change.
        schemas: The databases whose tables change.
        commit: The git commit with the changed files; None where there is none.
    """

    workspace: str
    dry_run: bool
    files: tuple[FileChange, ...]
    schemas: tuple[SchemaChange, ...]
    commit: str | None
