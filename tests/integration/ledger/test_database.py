"""The ledger's connection: where it may be, who may write, and what happens where it cannot."""

import ast
import hashlib
import json
import secrets
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import make_url, text
from sqlalchemy.engine import URL

from patchcore.adapters.ledger import Ledger, migrate, open_ledger
from patchcore.adapters.ledger import migrations as ledger_migrations
from patchcore.adapters.ledger.database import REVISION
from patchcore.adapters.ledger.tables import metadata
from patchcore.adapters.ledger.times import now, utc_text
from patchcore.config.workspace import Workspace
from patchcore.errors import Fault, LedgerOutdated, Refused
from patchcore.evidence.export import Table
from tests.support.ledgers import add_batch, fill, scored
from tests.support.places import REPOSITORY
from tests.support.tampering import Owner


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "state" / "ledger.db"


RACE = """
import sys
from patchcore.adapters.ledger import Ledger
from patchcore.errors import Refused
ledger = Ledger(sys.argv[1])
version = int(sys.argv[2])
ledger.record_dataset("bottle", "d1", normals=1, evaluation_images=1, pointers={}, git_commit=None, who="race")
bank = ("bottle", version, f"bank{version}")
measured = {"evaluation_sha256": "e", "metrics": {}}
ledger.record_bank(*bank, dataset_version=1, dataset_sha256="d1", run_id="r", git_commit=None, **measured)
try:
    category, *content = bank
    ledger.decide(category, "promote", *content, expected=None, reason="", verdict={}, who="race")
except Refused:
    sys.exit(3)
"""


def test_of_processes_that_make_the_ledger_and_promote_at_once_one_wins(ledger_url: str) -> None:
    command = [sys.executable, "-c", RACE, ledger_url]
    racers = [subprocess.Popen([*command, str(version)]) for version in range(1, 9)]
    codes = [racer.wait(timeout=60) for racer in racers]
    assert sorted(codes) == [0, *[3] * 7]
    ledger = Ledger(ledger_url)
    (winner,) = ledger.history("bottle")
    assert winner.to_version == codes.index(0) + 1
    assert len([version for version in range(1, 9) if ledger.bank("bottle", version)]) == 8
    assert ledger.verify().ok


@pytest.mark.parametrize("sequence", [2**63 - 1, 40, 1])
def test_a_link_is_added_at_the_end_and_nowhere_else(ledger: Ledger, ledger_url: str, sequence: int) -> None:
    fill(ledger)
    before = ledger.verify().records
    row = f"INSERT INTO chain SELECT {sequence}, kind, content, previous, hash FROM chain WHERE sequence = 1"  # noqa: S608
    with pytest.raises(Refused, match="append-only"):
        Owner(ledger_url).alter(row)
    ledger.record_event("bottle", "ingest", {}, who="ann")
    ledger.check()
    found = ledger.verify()
    assert (found.ok, found.records) == (True, before + 1)


def test_a_ledger_in_a_place_that_is_no_folder_is_a_fault_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    for path in (tmp_path, tmp_path / "file" / "ledger.db", tmp_path / "file"):
        with pytest.raises(Fault, match="set PATCHCORE_LEDGER_URL") as caught:
            Ledger(f"sqlite:///{path}")
        assert str(path) in caught.value.what


def test_a_ledger_that_somebody_else_keeps_writing_to_is_a_fault_after_a_while(ledger_url: str) -> None:
    with Ledger(ledger_url)._database.writing(), pytest.raises(Fault, match="lock"):
        Ledger(ledger_url, wait=0.1).check()


def test_who_reads_sees_one_state_while_others_write(ledger: Ledger, ledger_url: str) -> None:
    fill(ledger)
    with ledger.tables() as tables:
        links = list(tables["chain"].rows)
        Ledger(ledger_url).record_event("bottle", "ingest", {}, who="ann")
        events = list(tables["events"].rows)
    assert len(events) == 2
    assert len(links) == ledger.verify().records - 1


def test_a_ledger_that_can_only_be_read_answers_but_does_not_write(file: Path) -> None:
    fill(Ledger(f"sqlite:///{file}"))
    reader = Ledger(f"sqlite:///file:{file}?mode=ro&uri=true")
    assert reader.production("bottle") is not None
    with pytest.raises(Fault, match="readonly"):
        reader.check()


def test_a_server_that_is_not_there_is_a_fault_that_shows_no_password() -> None:
    with pytest.raises(Fault, match="cannot be used") as caught:
        Ledger("postgresql://ann:secret@127.0.0.1:1/ledger")
    assert "secret" not in str(caught.value)


def test_a_database_that_rounds_numbers_or_speaks_latin1_to_others_gives_no_false_alarm(postgresql_url: str) -> None:
    database = make_url(postgresql_url).database
    for setting in ("extra_float_digits = 0", "client_encoding = 'LATIN1'"):
        Owner(postgresql_url).alter(f"ALTER DATABASE {database} SET {setting}")
    ledger = fill(Ledger(postgresql_url))
    add_batch(ledger, "thirds", 2, [scored("日本.png", 1 / 3)])
    batch = ledger.batch("thirds")
    assert batch is not None
    assert [(image.path, image.score) for image in batch.images] == [("shift/日本.png", 1 / 3)]
    assert ledger.verify().problems == ()


def test_a_database_that_does_not_know_its_characters_is_refused(postgresql_server: URL) -> None:
    name = f"ascii_{secrets.token_hex(4)}"
    _carry_out(postgresql_server, f"CREATE DATABASE {name} ENCODING 'SQL_ASCII' TEMPLATE template0")
    try:
        with pytest.raises(Refused, match="SQL_ASCII") as caught:
            Ledger(postgresql_server.set(database=name).render_as_string(hide_password=False))
        assert (caught.value.expected, "ENCODING 'UTF8'" in caught.value.remedy) == ("UTF8", True)
    finally:
        _carry_out(postgresql_server, f"DROP DATABASE {name} WITH (FORCE)")


def test_a_ledger_stays_in_the_schema_that_it_was_made_in(postgresql_url: str) -> None:
    database = make_url(postgresql_url).database
    schema = 'CREATE SCHEMA "The plant"; ALTER DATABASE {} SET search_path = {}'
    _carry_out(make_url(postgresql_url), schema.format(database, '"The plant", public'))
    assert fill(Ledger(postgresql_url)).verify().ok
    assert Owner(postgresql_url).rows("SELECT DISTINCT schemaname FROM pg_tables WHERE tablename = 'chain'") == [
        ("The plant",)
    ]
    _carry_out(make_url(postgresql_url), f'ALTER DATABASE {database} SET search_path = public, "The plant"')
    assert Ledger(postgresql_url).batch("monday") is not None


@pytest.mark.parametrize("url", ["no url", "mysql://ann:secret@host/ledger", "sqlite://", "sqlite:///:memory:"])
def test_other_databases_are_refused_and_no_password_is_shown(url: str) -> None:
    with pytest.raises(Refused) as caught:
        Ledger(url)
    assert "secret" not in str(caught.value)


def test_a_ledger_of_a_later_version_is_refused(ledger: Ledger, ledger_url: str) -> None:
    Owner(ledger_url).run("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(Refused, match="revision 9999"):
        Ledger(ledger_url)
    with pytest.raises(Refused, match="9999"):
        migrate(ledger_url)


@pytest.mark.parametrize("statement", ["DELETE FROM alembic_version", "INSERT INTO alembic_version VALUES ('x')"])
def test_a_ledger_that_does_not_name_one_revision_is_refused(ledger: Ledger, ledger_url: str, statement: str) -> None:
    fill(ledger)
    Owner(ledger_url).run(statement)
    for opening in (Ledger, migrate):
        with pytest.raises(Refused, match="alembic_version") as caught:
            opening(ledger_url)
        assert caught.value.expected == "one row, the revision of the tables"


@pytest.mark.parametrize("revision", ["0001", "0002"])
def test_a_ledger_of_an_earlier_revision_than_version_0_1_0_is_refused(ledger_url: str, revision: str) -> None:
    Ledger(ledger_url)
    Owner(ledger_url).run(f"UPDATE alembic_version SET version_num = '{revision}'")  # noqa: S608  # our own words
    for opening in (Ledger, migrate):
        with pytest.raises(LedgerOutdated, match=f"revision {revision}, expected revision {REVISION}"):
            opening(ledger_url)


def test_tables_without_a_revision_are_refused(file: Path) -> None:
    file.parent.mkdir()
    with closing(sqlite3.connect(file)) as database:
        database.execute("CREATE TABLE batches (id INTEGER)")
    for opening in (Ledger, migrate):
        with pytest.raises(LedgerOutdated, match="tables without a number"):
            opening(f"sqlite:///{file}")


def test_a_ledger_of_version_0_1_0_is_used_as_it_is_and_stamped_when_it_is_migrated(ledger_url: str) -> None:
    fill(Ledger(ledger_url))
    owner = Owner(ledger_url)
    owner.run("UPDATE alembic_version SET version_num = '0003'")
    ledger = Ledger(ledger_url)
    ledger.record_event("bottle", "ingest", {}, who="ann")
    before = ledger.verify()
    assert (before.ok, owner.rows("SELECT version_num FROM alembic_version")) == (True, [("0003",)])
    for _ in range(2):  # safe to run again
        assert migrate(ledger_url) == REVISION
        assert owner.rows("SELECT version_num FROM alembic_version") == [(REVISION,)]
    after = Ledger(ledger_url).verify()
    assert (after.ok, after.records, after.head) == (True, before.records, before.head)


def test_the_schema_in_sqlite_is_word_for_word_that_of_version_0_1_0(file: Path) -> None:
    """SQLite keeps the statements, and `audit verify` compares them: a change would be reported as damage."""
    Ledger(f"sqlite:///{file}")
    with closing(sqlite3.connect(file)) as database:
        query = "SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name <> 'alembic_version'"
        statements = sorted(database.execute(query).fetchall())
    digest = hashlib.sha256(json.dumps(statements).encode()).hexdigest()
    assert (len(statements), digest) == (52, "c2b0e1dda40bd27869295f210d9e435661489e5b7648381bfa64cbb0daa1ac63")


def test_migrations_import_nothing_of_this_library() -> None:
    """A migration that changes when the code does could not be repeated."""
    for file in (*(ledger_migrations.FOLDER / "versions").glob("*.py"), ledger_migrations.FOLDER / "env.py"):
        imported = {node.module for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.ImportFrom)}
        assert imported <= {"pathlib", "alembic"}, file


def test_the_migrations_make_the_tables_that_the_code_uses(ledger: Ledger) -> None:
    with ledger._database._engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        differences = [entry for entry in compare_metadata(context, metadata) if "alembic_version" not in str(entry)]
    assert differences == []
    assert ScriptDirectory.from_config(ledger_migrations.config()).get_current_head() == REVISION


@dataclass(frozen=True)
class Roles:
    """The URLs of the database that docs/how-to/postgresql.md makes, by who opens it."""

    owner: str
    writer: str
    auditor: str


@pytest.fixture
def roles(postgresql_server: URL) -> Iterator[Roles]:
    """What the statements of docs/how-to/postgresql.md make, as they stand; only the names are this test's own."""
    name = f"patchcore_{secrets.token_hex(4)}"
    sql = (REPOSITORY / "docs/how-to/postgresql.md").read_text().replace("patchcore_", f"{name}_")
    sql = sql.replace("DATABASE patchcore ", f"DATABASE {name} ")
    create, grant = (part.split("```")[0] for part in sql.split("```sql")[1:])
    names = [f"{name}_{role}" for role in ("owner", "writer", "auditor")]
    urls = [postgresql_server.set(username=role, database=name).render_as_string(hide_password=False) for role in names]
    passwords = "".join(f"ALTER ROLE {role} PASSWORD '{postgresql_server.password}';" for role in names)
    _carry_out(postgresql_server, create + passwords)
    try:
        migrate(urls[0])
        _carry_out(make_url(urls[0]), grant)
        yield Roles(*urls)
    finally:
        drop = "".join(f"DROP ROLE {role};" for role in names)
        _carry_out(postgresql_server, f"DROP DATABASE {name} WITH (FORCE);{drop}")


def _carry_out(url: URL, script: str) -> None:
    address = url.set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(address, autocommit=True) as connection:
        for statement in filter(str.strip, script.split(";")):  # one by one: CREATE DATABASE stands alone
            connection.execute(statement.encode())


CHANGES = (
    "UPDATE chain SET kind = 'x'",
    "DELETE FROM images",
    "TRUNCATE images",
    "DROP TABLE overrides",
    "ALTER TABLE images DISABLE TRIGGER images_no_change",
    "CREATE TRIGGER spy BEFORE INSERT ON images FOR EACH ROW EXECUTE FUNCTION patchcore_refuse_change()",
    "CREATE OR REPLACE FUNCTION patchcore_refuse_change() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
    "INSERT INTO alembic_version VALUES ('x')",
    "SET session_replication_role = replica",
)


def test_the_writer_does_all_that_the_lifecycle_does_and_cannot_change_what_was_written(roles: Roles) -> None:
    writer = Ledger(roles.writer)
    writer.check()
    fill(writer).checkpoint()
    _cannot(roles.writer, *CHANGES)
    with pytest.raises(Fault, match="must be owner"):
        writer.archive(1, 100, count=1, name="n", sha256="s", who="eve")
    assert writer.verify().ok


def test_the_owner_is_stopped_by_the_guards_and_archives(roles: Roles) -> None:
    fill(Ledger(roles.writer))
    owner = Ledger(roles.owner)
    for change in ("DELETE FROM images", "TRUNCATE images", "UPDATE images SET score = 0"):
        with pytest.raises(Refused, match="append-only"), owner._database.writing() as connection:
            connection.execute(text(change))
    count = sum(len(list(table.rows)) for table in _images(owner))
    assert owner.archive(1, 10_000, count=count, name="n", sha256="s", who="ann").images == count
    assert owner.verify(without_archives=True).ok


def _images(ledger: Ledger) -> Iterator[Table]:
    with ledger.tables() as tables:
        yield tables["images"]


def test_the_auditor_reads_and_verifies_and_writes_nothing(roles: Roles) -> None:
    checkpoint = fill(Ledger(roles.writer)).checkpoint()
    auditor = Ledger(roles.auditor)
    assert auditor.production("bottle") == Ledger(roles.writer).production("bottle")
    assert auditor.batch("monday") is not None
    assert auditor.checkpoints() == [checkpoint]
    assert auditor.verify().ok
    _cannot(roles.auditor, *CHANGES)
    for write in (auditor.check, lambda: auditor.record_event("bottle", "ingest", {}, who="eve")):
        with pytest.raises(Fault, match="permission denied"):
            write()


def _cannot(url: str, *changes: str) -> None:
    ledger = Ledger(url)
    for change in changes:
        refused = pytest.raises(Fault, match=r"permission denied|must be owner")
        with refused, ledger._database.writing() as connection:
            connection.execute(text(change))


def test_the_environment_says_where_the_ledger_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PATCHCORE_LEDGER_URL", raising=False)
    workspace = Workspace(tmp_path)
    open_ledger(workspace).check()
    assert workspace.ledger.is_file()
    monkeypatch.setenv("PATCHCORE_LEDGER_URL", f"sqlite:///{tmp_path / 'elsewhere.db'}")
    open_ledger(workspace).check()
    assert (tmp_path / "elsewhere.db").is_file()


def test_times_are_utc_text_that_sorts() -> None:
    time = datetime.fromisoformat("2026-02-01T03:13:00+01:00")
    assert utc_text(time) == "2026-02-01T02:13:00.000000Z"
    assert utc_text(time) < utc_text(time + timedelta(microseconds=1)) < now()
