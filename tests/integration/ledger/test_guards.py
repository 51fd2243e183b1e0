"""What refuses changes in the database, and what somebody puts there besides: verify tells of all that differs."""

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import make_url

from patchcore.adapters.ledger import Ledger
from patchcore.adapters.ledger.tables import metadata
from patchcore.adapters.ledger.verify import _schema_problems
from patchcore.errors import Fault, Refused
from patchcore.evidence.signing import Signer
from tests.support.ledgers import fill
from tests.support.tampering import Owner

TABLES = tuple(metadata.tables)
REFUSE = "EXECUTE FUNCTION patchcore_refuse_change()"
REPLACED = "DROP TRIGGER images_no_change ON images; CREATE TRIGGER images_no_change"
NOTHING = "RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RETURN {}; END$$"
ALLOWS = "the database would allow changes"
DIFFERS = "the database differs from what its migrations made"
FOREIGN = "is foreign: the database may store other records than it was given"
BODY = "(SELECT prosrc FROM pg_proc WHERE proname = 'patchcore_refuse_change')"
COPY = "CREATE FUNCTION other.patchcore_refuse_change() RETURNS trigger LANGUAGE plpgsql AS %%L"
COPY_THE_BODY = f"DO $do$BEGIN EXECUTE format('{COPY}', {BODY}); END$do$"

DISARMED = {
    "a trigger that is never asked": (
        f"{REPLACED} BEFORE UPDATE OR DELETE ON images FOR EACH ROW WHEN (false) {REFUSE}",
    ),
    "a trigger of one column": (f"{REPLACED} BEFORE UPDATE OF path OR DELETE ON images FOR EACH ROW {REFUSE}",),
    "a trigger that comes afterwards": (f"{REPLACED} AFTER UPDATE OR DELETE ON images FOR EACH ROW {REFUSE}",),
    "a trigger of each statement": (f"{REPLACED} BEFORE UPDATE OR DELETE ON images FOR EACH STATEMENT {REFUSE}",),
    "a trigger of one change": (f"{REPLACED} BEFORE UPDATE ON images FOR EACH ROW {REFUSE}",),
    "a trigger that is switched off": ("ALTER TABLE images DISABLE TRIGGER images_no_change",),
    "a trigger of replicas": ("ALTER TABLE images ENABLE REPLICA TRIGGER images_no_change",),
    "a trigger that replicas pass over": ("ALTER TABLE images ENABLE TRIGGER images_no_change",),
    "no trigger": ("DROP TRIGGER images_no_change ON images",),
    "a trigger that calls another function": (
        f"CREATE SCHEMA other; CREATE FUNCTION other.patchcore_refuse_change() {NOTHING.format('NEW')}",
        f"{REPLACED} BEFORE UPDATE OR DELETE ON images FOR EACH ROW EXECUTE FUNCTION other.patchcore_refuse_change()",
    ),
}


def test_a_function_that_refuses_nothing_is_told_even_where_another_schema_keeps_the_body(postgresql_url: str) -> None:
    ledger = Ledger(postgresql_url)
    lenient = f"CREATE OR REPLACE FUNCTION patchcore_refuse_change() {NOTHING.format('COALESCE(NEW, OLD)')}"
    Owner(postgresql_url).alter("CREATE SCHEMA other", COPY_THE_BODY, lenient)
    assert ledger.verify().problems == (f"guard patchcore_refuse_change() is altered: {ALLOWS}",)


LOOSENED = {
    "no CHECK": ("batches DROP CONSTRAINT batches_check", "CHECK ((received = (scored + failed))) is missing"),
    "no UNIQUE": ("images DROP CONSTRAINT images_scored_batch_path_key", "UNIQUE (scored_batch, path) is missing"),
    "no FOREIGN KEY": (
        "images DROP CONSTRAINT images_scored_batch_fkey",
        "FOREIGN KEY (scored_batch) REFERENCES batches(sequence) is missing",
    ),
    "a reference that is not checked": (
        "images DISABLE TRIGGER ALL",
        "FOREIGN KEY (scored_batch) REFERENCES batches(sequence) is altered",
    ),
    "no NOT NULL": ("overrides ALTER COLUMN who DROP NOT NULL", "column overrides.who is altered"),
    "a default": ("overrides ALTER COLUMN who SET DEFAULT 'nobody'", "column overrides.who is altered"),
    "less digits": ("images ALTER COLUMN score TYPE real", "column images.score is altered"),
    "a table that a crash empties": ("events SET UNLOGGED", "table events is altered"),
    "another order of text": ('batches ALTER COLUMN batch TYPE text COLLATE "C"', "column batches.batch is altered"),
    "row security": ("images ENABLE ROW LEVEL SECURITY", "table images is altered"),
}


def test_every_guard_and_rule_of_postgresql_that_was_disarmed_or_loosened_is_told(postgresql_url: str) -> None:
    Ledger(postgresql_url)
    for way, statements in DISARMED.items():
        word = "missing" if way == "no trigger" else "altered"
        assert f"guard images_no_change on images is {word}: {ALLOWS}" in _told(postgresql_url, *statements), way
    for way, (statement, words) in LOOSENED.items():
        told = _told(postgresql_url, f"ALTER TABLE {statement}")
        assert any(problem.endswith(f"{words}: {DIFFERS}") for problem in told), way
    assert _told(postgresql_url) == []


IN_THE_CATALOG = {
    "UPDATE pg_class SET relhastriggers = false WHERE relname = 'images'": f"table images is altered: {DIFFERS}",
    "UPDATE pg_class SET relhasindex = false WHERE relname = 'images'": f"table images is altered: {DIFFERS}",
    "UPDATE pg_class SET relchecks = 0 WHERE relname = 'images'": f"table images is altered: {DIFFERS}",
    "CREATE TABLE heir () INHERITS (overrides)": f"table overrides is altered: {DIFFERS}",
    "UPDATE pg_index SET indisready = false WHERE indexrelid = 'images_pkey'::regclass": (
        f"unique index images_pkey is altered: {DIFFERS}"
    ),
    "ALTER FUNCTION patchcore_refuse_change() SECURITY DEFINER": (
        f"guard patchcore_refuse_change() is altered: {ALLOWS}"
    ),
    "CREATE UNIQUE INDEX spy ON overrides (scored_batch)": f"unique index spy {FOREIGN}",
    "CREATE INDEX spy ON overrides (who) WHERE reason::json IS NOT NULL": f"conditional index spy {FOREIGN}",
    "CREATE INDEX spy ON overrides (lower(reason))": f"computed index spy {FOREIGN}",
}


def test_what_makes_postgresql_pass_over_a_guard_or_refuse_a_record_is_told(postgresql_url: str) -> None:
    Ledger(postgresql_url)
    for statement, problem in IN_THE_CATALOG.items():
        assert _told(postgresql_url, statement) == [problem]
    assert _told(postgresql_url, "CREATE INDEX faster ON overrides (who)") == []


def test_guards_act_on_a_replica_too_and_references_that_are_not_checked_are_told(postgresql_url: str) -> None:
    fill(Ledger(postgresql_url))
    Owner(postgresql_url).alter(f"ALTER DATABASE {_name(postgresql_url)} SET session_replication_role = replica")
    for change in ("UPDATE images SET score = 0", "DELETE FROM overrides", "TRUNCATE events"):
        with pytest.raises(Refused, match="append-only"):
            Owner(postgresql_url).alter(change)
    (problem,) = Ledger(postgresql_url).verify().problems
    assert problem.startswith("PostgreSQL: session_replication_role is replica")


EQUALS_NOT_MONDAY = (
    "CREATE SCHEMA evil",
    "CREATE FUNCTION evil.differs(text, varchar) RETURNS boolean LANGUAGE sql IMMUTABLE AS "
    "$$SELECT $1 OPERATOR(pg_catalog.=) $2::text AND $1 OPERATOR(pg_catalog.<>) 'monday'$$",
    "CREATE OPERATOR {}.= (LEFTARG = text, RIGHTARG = varchar, FUNCTION = evil.differs)",
)


def test_an_operator_before_the_servers_own_hides_no_record_and_is_told(postgresql_url: str) -> None:
    fill(Ledger(postgresql_url))
    path = f"ALTER DATABASE {_name(postgresql_url)} SET search_path = evil, pg_catalog, public"
    Owner(postgresql_url).alter(*(statement.format("evil") for statement in EQUALS_NOT_MONDAY), path)
    ledger = Ledger(postgresql_url)
    assert len(ledger.overrides("monday")) == 1
    (problem,) = ledger.verify().problems
    assert problem.startswith("PostgreSQL: search_path is evil, pg_catalog, public")


def test_an_operator_among_the_ledgers_tables_is_told(postgresql_url: str) -> None:
    fill(Ledger(postgresql_url))
    of_names = "CREATE OPERATOR = (LEFTARG = name, RIGHTARG = varchar, FUNCTION = evil.of_names)"  # else: not unique
    same = "CREATE FUNCTION evil.of_names(name, varchar) RETURNS boolean LANGUAGE sql AS $$SELECT $1::text = $2::text$$"
    Owner(postgresql_url).alter(*(part.format("public") for part in EQUALS_NOT_MONDAY), same, of_names)
    problems = Ledger(postgresql_url).verify().problems
    assert any("operator =(text,character varying) is not built in" in problem for problem in problems)


def test_copies_of_the_catalog_hide_no_guard_that_is_missing(postgresql_url: str) -> None:
    Ledger(postgresql_url)
    columns = (
        "oid, tgrelid, tgname, tgfoid, tgenabled, tgisinternal, tgconstraint, pg_get_triggerdef(oid, true) AS text"
    )
    Owner(postgresql_url).alter(
        "CREATE SCHEMA evil",
        f"CREATE TABLE evil.pg_trigger AS SELECT {columns} FROM pg_trigger",  # noqa: S608
        "CREATE FUNCTION evil.pg_get_triggerdef(oid, boolean) RETURNS text LANGUAGE sql AS "
        "$$SELECT text FROM evil.pg_trigger WHERE oid = $1$$",
        "DROP TRIGGER images_no_change ON images",
        f"ALTER DATABASE {_name(postgresql_url)} SET search_path = evil, pg_catalog, public",
    )
    assert f"guard images_no_change on images is missing: {ALLOWS}" in Ledger(postgresql_url).verify().problems


def test_every_index_that_was_switched_off_while_rows_came_is_told(postgresql_url: str) -> None:
    fill(Ledger(postgresql_url)).checkpoint()
    owner = Owner(postgresql_url)
    owner.run("INSERT INTO archives SELECT 1, 1, 1, 0, 'n', 's', 'w', 'a'")
    owner.alter("CREATE INDEX faster ON overrides (who)")
    tables = ", ".join(f"'{table}'::regclass" for table in TABLES)
    ours = f"indrelid IN ({tables})"
    names = [row[0] for row in owner.rows(f"SELECT indexrelid::regclass::text FROM pg_index WHERE {ours}")]  # noqa: S608
    owner.run(
        f"UPDATE pg_index SET indisready = false WHERE {ours}",  # noqa: S608
        *(f"INSERT INTO {table} SELECT * FROM {table}" for table in TABLES),  # noqa: S608
        f"UPDATE pg_index SET indisready = true WHERE {ours}",  # noqa: S608
    )
    told = "\n".join(Ledger(postgresql_url).verify().problems)
    assert [name for name in names if f"PostgreSQL: index {name} covers " not in told] == []
    assert len(names) > 2 * len(TABLES)


def _name(url: str) -> str:
    """Return the name of a database."""
    return str(make_url(url).database)


def _told(url: str, *statements: str) -> list[str]:
    """Return what is told while the statements stand; they are taken back."""
    database = Owner(url).database
    with database.writing() as connection, connection.begin_nested() as attempt:
        for statement in statements:
            connection.exec_driver_sql(statement)
        told = list(_schema_problems(database.dialect, connection))
        attempt.rollback()
    return told


@pytest.mark.parametrize(
    ("table", "old", "new"),
    [
        ("batches", "CHECK (received = scored + failed)", "CHECK (true)"),
        ("images", "FOREIGN KEY(scored_batch) REFERENCES batches (sequence)", "CHECK (true)"),
        ("images", ") STRICT", ")"),
    ],
)
def test_a_rule_of_sqlite_that_was_loosened_is_told(sqlite_url: str, table: str, old: str, new: str) -> None:
    ledger = Ledger(sqlite_url)
    owner = Owner(sqlite_url)
    ((statement,),) = owner.rows(f"SELECT sql FROM sqlite_master WHERE name = '{table}'")  # noqa: S608
    words = statement.replace(")\n STRICT", ") STRICT")
    assert old in words
    loosened = words.replace(old, new).replace("'", "''")
    owner.alter(
        "PRAGMA writable_schema = ON",
        f"UPDATE sqlite_master SET sql = '{loosened}' WHERE name = '{table}'",  # noqa: S608
    )
    assert ledger.verify().problems == (f"table {table} is altered: {DIFFERS}",)


@pytest.mark.parametrize("word", ["missing", "altered"])
def test_a_guard_of_sqlite_that_was_disarmed_is_told(sqlite_url: str, word: str) -> None:
    ledger = Ledger(sqlite_url)
    lenient = "CREATE TRIGGER images_no_delete BEFORE DELETE ON images BEGIN SELECT 1; END"
    Owner(sqlite_url).alter("DROP TRIGGER images_no_delete", *([lenient] if word == "altered" else []))
    assert ledger.verify().problems == (f"guard images_no_delete is {word}: {ALLOWS}",)


def test_an_index_that_was_dropped_is_told_and_one_that_was_added_is_not(sqlite_url: str) -> None:
    ledger = Ledger(sqlite_url)
    Owner(sqlite_url).alter("CREATE INDEX faster ON images (score)")
    assert ledger.verify().ok
    Owner(sqlite_url).alter("DROP INDEX images_by_sha256")
    assert ledger.verify().problems == (f"index images_by_sha256 is missing: {DIFFERS}",)


ACTING = {
    "a trigger": (
        "CREATE TRIGGER spy BEFORE INSERT ON OverRides BEGIN SELECT RAISE(ABORT, 'disk'); END",
        "trigger spy",
    ),
    "a unique index": ("CREATE UNIQUE INDEX spy ON OVERRIDES (scored_batch)", "unique index spy"),
    "a conditional index": ("CREATE INDEX spy ON overrides (who) WHERE json(reason) > ''", "conditional index spy"),
    "a computed index": ("CREATE INDEX spy ON Overrides (json(reason))", "computed index spy"),
    "a view": ("CREATE VIEW OverRides AS SELECT * FROM others WHERE who <> 'eve'", "view OverRides"),
}


@pytest.mark.parametrize("way", ACTING)
def test_what_acts_on_a_table_of_sqlite_is_told_however_it_spells_the_table(sqlite_url: str, way: str) -> None:
    ledger, (statement, name) = Ledger(sqlite_url), ACTING[way]
    renamed = ["ALTER TABLE overrides RENAME TO others"] if way == "a view" else []
    Owner(sqlite_url).alter(*renamed, statement)
    assert f"{name} {FOREIGN}" in ledger.verify().problems


@pytest.mark.parametrize("table", ["chain", "events"])
def test_a_record_that_a_foreign_trigger_swallows_is_not_reported_as_kept(
    ledger: Ledger, ledger_url: str, table: str
) -> None:
    if ledger_url.startswith("sqlite"):
        Owner(ledger_url).alter(f"CREATE TRIGGER spy BEFORE INSERT ON {table} BEGIN SELECT RAISE(IGNORE); END")
        name = "trigger spy"
    else:
        swallow = f"CREATE TRIGGER spy BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION swallow()"
        Owner(ledger_url).alter(f"CREATE FUNCTION swallow() {NOTHING.format('NULL')}", swallow)
        name = f"trigger spy on {table}"
    with pytest.raises(Fault, match=f"did not keep the rows written to its table {table}"):
        ledger.record_event("bottle", "ingest", {}, who="ann")
    assert (ledger.verify().records, ledger.events("bottle")) == (0, [])
    assert f"{name} {FOREIGN}" in ledger.verify().problems


def test_a_record_that_a_rule_swallows_is_not_reported_as_kept(postgresql_url: str) -> None:
    ledger = Ledger(postgresql_url)
    Owner(postgresql_url).alter("CREATE RULE spy AS ON INSERT TO events DO INSTEAD NOTHING")
    with pytest.raises(Fault, match="did not keep"):
        ledger.record_event("bottle", "ingest", {}, who="ann")
    assert ledger.verify().problems == (f"rule spy on events {FOREIGN}",)


def test_a_trigger_that_changes_what_is_stored_is_told(postgresql_url: str) -> None:
    ledger = Ledger(postgresql_url)
    nobody = "RETURNS trigger LANGUAGE plpgsql AS $$BEGIN NEW.who = 'nobody'; RETURN NEW; END$$"
    spy = "CREATE TRIGGER spy BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION rename_who()"
    Owner(postgresql_url).alter(f"CREATE FUNCTION rename_who() {nobody}", spy)
    ledger.record_event("bottle", "ingest", {}, who="ann")
    found = ledger.verify()
    assert found.first_bad == 1
    assert f"trigger spy on events {FOREIGN}" in found.problems


def test_what_postgresql_prints_of_new_tables_is_what_verify_compares_with(postgresql_url: str) -> None:
    database = Ledger(postgresql_url)._database
    with database.reading() as connection:
        assert database.dialect.actual_schema(connection) == database.dialect.expected_schema()


# Of the chain, the kind; of the others, what a problem, a note or a signature is made of, and any other text.
TEXTS = {"overrides": ["reason"], "chain": ["kind"], "checkpoints": ["at", "key", "head"], "archives": ["name"]}


@pytest.mark.parametrize(("table", "column"), [(table, column) for table, names in TEXTS.items() for column in names])
def test_a_byte_that_is_no_utf8_is_told_from_the_sign_that_readers_put_in_its_place(
    sqlite_url: str, table: str, column: str
) -> None:
    private = Ed25519PrivateKey.generate()
    ledger = Ledger(sqlite_url, signer=Signer(private.public_key().public_bytes_raw().hex(), private))
    fill(ledger).record_override("tuesday", "shift/late.png", anomalous=True, reason="bad \ufffd lens", who="eve")
    ledger.archive(1, 1, count=0, name="bad \ufffd name", sha256="s", who="ann")
    ledger.checkpoint()
    assert ledger.verify().ok
    owner = Owner(sqlite_url)
    ((last,),) = owner.rows(f"SELECT max(sequence) FROM {table}")  # noqa: S608
    swapped, longer = f"replace(CAST({column} AS BLOB), x'efbfbd', x'ff')", f"CAST({column} AS BLOB) || x'ff'"
    raw = f"CAST(CASE WHEN instr({column}, char(65533)) THEN {swapped} ELSE {longer} END AS TEXT)"
    owner.run(f"UPDATE {table} SET {column} = {raw} WHERE sequence = {last}")  # noqa: S608
    found = ledger.verify()
    assert found.first_bad == last
    assert "".join(found.problems).isprintable()


@pytest.fixture
def sqlite_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('ledger') / 'ledger.db'}"
