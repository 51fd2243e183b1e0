"""The PostgreSQL server of the tests is a real one, and each test has a database of its own."""

from pathlib import Path

import pytest
from sqlalchemy import Connection, create_engine, inspect, text
from sqlalchemy.engine import URL, make_url

from tests.support import postgresql


def connect(url: str) -> Connection:
    return create_engine(url).connect()


def test_the_server_answers_and_syncs_what_it_writes(postgresql_url: str) -> None:
    with connect(postgresql_url) as connection:
        assert connection.execute(text("SELECT 1")).scalar_one() == 1
        assert connection.execute(text("SHOW fsync")).scalar_one() == "on"
        assert connection.execute(text("SHOW listen_addresses")).scalar_one() == "127.0.0.1"


@pytest.mark.parametrize("number", [1, 2])
def test_each_test_has_an_empty_database(postgresql_url: str, number: int) -> None:
    with connect(postgresql_url) as connection:
        assert inspect(connection).get_table_names() == []
        connection.execute(text("CREATE TABLE part (number bigint)"))
        connection.commit()


def test_a_database_is_gone_after_its_test(postgresql_server: URL) -> None:
    def names() -> list[str]:
        with connect(postgresql_server.render_as_string(hide_password=False)) as connection:
            return list(connection.execute(text("SELECT datname FROM pg_database")).scalars())

    with postgresql.new_database(postgresql_server) as url:
        assert make_url(url).database in names()
    assert make_url(url).database not in names()


def test_a_machine_without_the_server_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(postgresql, "_PACKAGED", tmp_path)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(pytest.fail.Exception, match="apt-get install -y --no-install-recommends postgresql"):
        postgresql._programs()
