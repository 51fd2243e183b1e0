"""Fixtures of the tests that need PostgreSQL: a real server of their own on loopback, a fresh database each.

The server comes from Debian's package `postgresql`, or from the PATH. Its cluster lives in a temporary folder; a
service that the machine may run is left alone.
"""

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from sqlalchemy.engine import URL

_PACKAGED = Path("/usr/lib/postgresql")  # a folder for each version
_OWNER = "postgres"  # the server refuses to run as root
_PATIENCE = 60  # seconds that the server may take to start or to stop, on a busy machine
_REMEDY = (
    "install it with: apt-get install -y --no-install-recommends postgresql "
    "(or set PATCHCORE_TEST_POSTGRESQL=skip to go without these tests)"
)


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[URL]:
    """A server of this session's own; the URL leads to its superuser's database `postgres`."""
    if os.environ.get("PATCHCORE_TEST_POSTGRESQL") == "skip":
        pytest.skip("PATCHCORE_TEST_POSTGRESQL=skip")
    with running_server() as url:
        yield url


@contextmanager
def running_server() -> Iterator[URL]:
    """Run a separate server while the block runs; yield the URL of its superuser's database."""
    programs = _programs()
    # Short, because a socket's path has 107 characters at most; not under tmp_path, which only we may enter.
    folder = Path(tempfile.mkdtemp(prefix="patchcore-postgresql-"))
    try:
        if os.geteuid() == 0:
            shutil.chown(folder, _OWNER, _OWNER)
        with _running(programs, folder) as url:
            yield url
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def postgresql_url(postgresql_server: URL) -> Iterator[str]:
    """The SQLAlchemy URL of a database that is fresh and empty, and gone after the test."""
    with new_database(postgresql_server) as url:
        yield url


@contextmanager
def new_database(server: URL, template: str = "template1") -> Iterator[str]:
    """Make a database for as long as the block runs, a copy of another one; yield its SQLAlchemy URL."""
    name = f"test_{secrets.token_hex(8)}"
    create = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
    _administer(server, create.format(sql.Identifier(name), sql.Identifier(template)))
    yield server.set(database=name).render_as_string(hide_password=False)
    _administer(server, sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def _programs() -> Path:
    """Return the folder of the newest server's programs."""
    packaged = sorted(_PACKAGED.glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    found = packaged[-1] if packaged else shutil.which("initdb")
    if found is None:
        pytest.fail(f"PostgreSQL: got no initdb, expected a server's programs; {_REMEDY}", pytrace=False)
    if os.geteuid() == 0 and _OWNER not in {user.pw_name for user in pwd.getpwall()}:
        pytest.fail(f"PostgreSQL: got no user {_OWNER}, expected one to run the server; {_REMEDY}", pytrace=False)
    return Path(found).resolve().parent


@contextmanager
def _running(programs: Path, folder: Path) -> Iterator[URL]:
    """Make a cluster in a folder and run its server."""
    password = secrets.token_hex(16)
    cluster = _make_cluster(programs, folder, password)
    port = _free_port()
    address = ("-p", str(port), "-k", str(folder), "-c", "listen_addresses=127.0.0.1")
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            _as_owner(programs / "postgres", "-D", cluster, *address), cwd=folder, stdout=log, stderr=log
        )
    url = URL.create("postgresql+psycopg", _OWNER, password, "127.0.0.1", port, "postgres")
    try:
        _wait(server, url, folder / "log")
        yield url
    finally:
        server.send_signal(signal.SIGINT)  # a fast shutdown: clients are disconnected
        server.wait(_PATIENCE)


def _make_cluster(programs: Path, folder: Path, password: str) -> Path:
    cluster, secret = folder / "cluster", folder / "password"
    secret.write_text(password)
    options = ("--username", _OWNER, "--pwfile", secret, "--auth", "scram-sha-256", "--encoding", "UTF8", "--no-locale")
    # --no-sync spares the initial files alone: what the server writes later, it syncs.
    command = _as_owner(programs / "initdb", "--no-sync", *options, "--pgdata", cluster)
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return cluster


def _as_owner(*command: object) -> list[str]:
    """Return a command that runs as a user whom the server accepts; its process is the program's own."""
    words = [str(word) for word in command]
    if os.geteuid() != 0:
        return words
    return ["setpriv", f"--reuid={_OWNER}", f"--regid={_OWNER}", "--init-groups", *words]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait(server: "subprocess.Popen[bytes]", url: URL, log: Path) -> None:
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            _administer(url, sql.SQL("SELECT 1"))
        except psycopg.OperationalError:
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < deadline, f"PostgreSQL does not answer:\n{log.read_text()}"
            time.sleep(0.1)
        else:
            return


def _administer(server: URL, statement: sql.SQL | sql.Composed) -> None:
    """Carry out one statement as the superuser, outside of a transaction."""
    address = server.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute(statement)
