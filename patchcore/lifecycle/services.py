"""What the lifecycle works with: a workspace, its parameters, and the services around it, opened once."""

import getpass
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path

from patchcore._util.files import remove_abandoned
from patchcore.adapters.ledger import Ledger, open_ledger
from patchcore.adapters.mlflow.registry import Registry, open_registry
from patchcore.adapters.versioning.repository import Versioning
from patchcore.config.params import Params, load_params
from patchcore.config.workspace import Workspace, find_workspace
from patchcore.dataset.digests import FileDigests
from patchcore.errors import WorkspaceBusy


@dataclass(frozen=True)
class Services:
    """A workspace with everything that its life needs."""

    workspace: Workspace
    params: Params
    versioning: Versioning
    registry: Registry
    ledger: Ledger
    digests: FileDigests = field(default_factory=FileDigests)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep every other command that changes this workspace waiting; see `alone_in`."""
        with alone_in(self.workspace, self.params):
            yield


@contextmanager
def alone_in(workspace: Workspace, params: Params) -> Iterator[None]:
    """Keep every other command that changes a workspace waiting.

    Raises:
        WorkspaceBusy: Another one has been changing it for an hour.
    """
    from filelock import FileLock, Timeout

    workspace.state.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(workspace.busy_lock, timeout=3600):
            for folder in workspace.written_by_commands(params.categories):
                remove_abandoned(folder)  # git would take what a killed command left for a report
            yield
    except Timeout as error:
        raise WorkspaceBusy(
            f"the workspace {workspace.root} is busy",
            got="another command that has been changing it for an hour",
            expected="one command that changes it at a time",
            remedy="wait for it, or stop it, then run the same command again",
        ) from error


_OPEN: ContextVar[Services | None] = ContextVar("open services", default=None)


@contextmanager
def services_of(root: Path | str | None = None) -> Iterator[Services]:
    """Open a workspace and its services for a whole command: within, `open_services` returns the same ones.

    A flow and its tasks name their workspace by its path, as Prefect needs it, and still read params.yaml once and
    connect to the ledger once.

    Raises:
        Refused: there is no workspace, or its params.yaml is wrong.
        Fault: the ledger cannot be opened.
    """
    services = open_services(root)
    token = _OPEN.set(services)
    try:
        yield services
    finally:
        _OPEN.reset(token)


def open_services(root: Path | str | None = None) -> Services:
    """Open a workspace and its services; no service is contacted yet.

    Raises:
        Refused: there is no workspace, or its params.yaml is wrong.
        Fault: the ledger cannot be opened.
    """
    workspace = find_workspace(Path(root) if root else None)
    already = _OPEN.get()
    if already is not None and already.workspace == workspace:
        return already
    params = load_params(workspace.params)
    return Services(workspace, params, Versioning(workspace), open_registry(workspace), open_ledger(workspace))


def who() -> str:
    """Return who is at work: PATCHCORE_USER, else the account and the host."""
    from patchcore.config.settings import read_settings

    return read_settings().user or f"{_account()}@{socket.gethostname()}"


def _account() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run as a number that no account has
        return f"uid {os.getuid()}"
