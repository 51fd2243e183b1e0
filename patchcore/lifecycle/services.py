"""What the lifecycle works with: a workspace, its parameters, and the services around it, opened once."""

import getpass
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from patchcore.adapters.ledger import Ledger, open_ledger
from patchcore.adapters.registry import Registry, open_registry
from patchcore.adapters.versioning import Versioning
from patchcore.errors import Refused
from patchcore.files import remove_abandoned
from patchcore.layout import Workspace, find_workspace
from patchcore.lifecycle.workspace import ensure_code_link
from patchcore.params import Params, load_params


@dataclass(frozen=True)
class Services:
    """A workspace with everything that its life needs."""

    workspace: Workspace
    params: Params
    versioning: Versioning
    registry: Registry
    ledger: Ledger

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep every other command that changes this workspace waiting outside.

        Raises:
            Refused: another one has been at work for an hour.
        """
        from filelock import FileLock, Timeout

        self.workspace.state.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(self.workspace.busy_lock, timeout=3600):
                for folder in self.workspace.written_by_commands(self.params.categories):
                    remove_abandoned(folder)  # git would take what a killed command left for a report
                yield
        except Timeout as error:
            raise Refused(
                f"the workspace {self.workspace.root} is busy",
                got="another command at work for an hour",
                expected="one command that changes it at a time",
                remedy="wait for it, or stop it, then run the same command again",
            ) from error


def open_services(root: Path | str | None = None) -> Services:
    """Open a workspace and its services; no service is asked for an answer yet.

    Raises:
        Refused: there is no workspace, or its params.yaml is wrong.
        Fault: the ledger cannot be opened.
    """
    workspace = find_workspace(Path(root) if root else None)
    ensure_code_link(workspace)
    params = load_params(workspace.params)
    return Services(workspace, params, Versioning(workspace), open_registry(workspace), open_ledger(workspace))


def who() -> str:
    """Return who is at work: PATCHCORE_USER, else the account and the host."""
    return os.environ.get("PATCHCORE_USER") or f"{_account()}@{socket.gethostname()}"


def _account() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run as a number that no account has
        return f"uid {os.getuid()}"
