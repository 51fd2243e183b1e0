"""Counts the durable effects of a tree of processes on a workspace, and kills the tree at one of them.

An effect is what survives the process: a name that appears, changes or goes, a file that is opened for writing, a
statement that commits a transaction, a git command and each of the hooks that git calls on its way. Each is told just
before it happens: to be killed before one is to be killed after the one before. A file opened for writing may be torn
besides: emptied, and then the kill.

It is no part of the library, and the library knows nothing of it: `install` reads the environment and listens to
Python's own audit events. All processes of a tree share one log, whose lines are the count.
"""

import fcntl
import os
import re
import signal
import sqlite3
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

ROOT, LOG, AT = "KILL_ROOT", "KILL_LOG", "KILL_AT"
"""Environment variables: the workspace, the log of its effects, and where to kill: at effect 17 (or 17:torn, its file
emptied before), or =TEXT, at the first effect that has this text in it."""

LEDGER = "commit the ledger in PostgreSQL"
"""The effect that a commit of the ledger is where its database is no file of the workspace."""

_IGNORED = ("/__pycache__/", "/.patchcore/prefect/", "/.patchcore/lock")
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_TEARS = os.O_CREAT | os.O_TRUNC
_NAMES = {
    "os.rename": "rename",
    "os.remove": "remove",
    "os.mkdir": "make folder",
    "os.rmdir": "remove folder",
    "os.link": "link",
    "os.symlink": "symlink",
    "os.truncate": "truncate",
}
_MODIFIES = re.compile(r"\s*(INSERT INTO|INSERT OR \w+ INTO|UPDATE|DELETE FROM|CREATE \w+|DROP \w+|ALTER TABLE)\s+\S+")
_busy = threading.local()


def install() -> None:
    """Listen, where the environment says so."""
    if os.environ.get(ROOT):
        listener = _Listener(os.environ[ROOT])
        sys.addaudithook(listener)
        # The audit event of a connection comes before it can be listened to.
        listened: Any = _listened(sqlite3.connect, listener)
        sqlite3.connect = sqlite3.dbapi2.connect = listened
        if os.environ.get("PATCHCORE_LEDGER_URL", "").startswith("postgresql"):
            _listen_to_postgresql()


def happens(effect: str, torn: tuple[str, int] | None = None) -> None:
    """Count an effect that is about to happen; end the whole process group if it is the one.

    Args:
        effect: in words.
        torn: path and flags of a file that is about to be opened, if it can be torn.
    """
    at, _, variant = os.environ.get(AT, "0").partition(":")
    with open(os.environ[LOG], "a+") as log:  # noqa: PTH123  # as little as possible is imported here
        fcntl.flock(log, fcntl.LOCK_EX)
        log.seek(0)
        count = sum(1 for _ in log) + 1
        log.write(f"{effect}{' [can be torn]' if torn else ''}\n")
        log.flush()
        if at[1:] in effect if at.startswith("=") else int(at) and count >= int(at):
            if torn and variant and count == int(at):
                os.open(*torn)
            os.killpg(os.getpgrp(), signal.SIGKILL)
            time.sleep(60)


class _Listener:
    """Hears of every audit event of this process."""

    def __init__(self, root: str) -> None:
        self._root = os.path.realpath(root) + "/"

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event not in _NAMES and event not in {"open", "subprocess.Popen"}:
            return
        if getattr(_busy, "now", False):
            return
        _busy.now = True
        try:
            self._hear(event, arguments)
        finally:
            _busy.now = False

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "subprocess.Popen":
            words = [os.fsdecode(word) for word in arguments[1]] if isinstance(arguments[1], list) else []
            if words[:1] == ["git"] and (command := next((word for word in words if word in {"add", "commit"}), None)):
                happens(f"git {command}")
        elif event == "open":
            path, _, flags = arguments
            if flags & _WRITES and (inside := self.inside(path)):
                happens(f"write {inside}", (os.fspath(path), flags) if flags & _TEARS else None)
        else:
            places = [place for place in arguments if isinstance(place, str | bytes | os.PathLike)]
            folder = arguments[-1] if event in {"os.remove", "os.rmdir"} else -1
            if named := [inside for place in places if (inside := self.inside(place, folder))]:
                happens(f"{_NAMES[event]} {' -> '.join(named)}")

    def inside(self, path: Any, folder: int = -1) -> str | None:
        """Return a path below the workspace; None for one that is elsewhere or of no interest."""
        if not isinstance(path, str | bytes | os.PathLike):
            return None
        text = os.fsdecode(path).removeprefix("file:").partition("?")[0]
        if folder >= 0 and not text.startswith("/"):
            text = f"{os.readlink(f'/proc/self/fd/{folder}')}/{text}"  # noqa: PTH115
        full = os.path.abspath(text)  # noqa: PTH100  # not resolved: a link is what is removed, not what it leads to
        real = os.path.join(os.path.realpath(os.path.dirname(full)), os.path.basename(full))  # noqa: PTH118, PTH119, PTH120
        ignored = not real.startswith(self._root) or any(part in real for part in _IGNORED)
        return None if ignored else real.removeprefix(self._root)


def _listened(connect: Callable[..., sqlite3.Connection], listener: _Listener) -> Callable[..., sqlite3.Connection]:
    def connect_and_listen(*arguments: Any, **named: Any) -> sqlite3.Connection:
        connection = connect(*arguments, **named)
        if database := listener.inside(arguments[0] if arguments else named["database"]):
            connection.set_trace_callback(_Transactions(database))
        return connection

    return connect_and_listen


def _listen_to_postgresql() -> None:
    from sqlalchemy import Connection, Engine, event

    @event.listens_for(Engine, "commit")
    def _commit(connection: Connection) -> None:
        if connection.dialect.name == "postgresql" and connection.get_execution_options().get("ledger_writing"):
            _busy.now = True
            happens(LEDGER)
            _busy.now = False


class _Transactions:
    """Hears every statement of a connection before it runs; what commits is an effect, named by its first change."""

    def __init__(self, database: str) -> None:
        self._database, self._first = database, ""

    def __call__(self, statement: str) -> None:
        if found := _MODIFIES.match(statement.upper()):
            self._first = self._first or " ".join(found[0].split())
        elif statement.upper().startswith("ROLLBACK"):
            self._first = ""
        elif statement.upper().startswith("COMMIT") and self._first:
            _busy.now = True
            happens(f"commit {self._database}: {self._first}")
            _busy.now, self._first = False, ""


if __name__ == "__main__":  # a git hook
    if os.environ.get(ROOT):
        happens(f"git hook {sys.argv[1]}")
