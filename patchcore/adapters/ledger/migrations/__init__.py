"""How the ledger's tables come to be, and how those of earlier versions become those of today; with Alembic.

A revision is a file of statements for each kind of database, so that who runs the server can read them before they do.
"""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Connection

from patchcore.errors import Refused

FOLDER = Path(__file__).parent


def config() -> Config:
    """Return Alembic's settings."""
    settings = Config()
    settings.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    return settings


def upgrade(connection: Connection) -> None:
    """Bring the tables to the last revision, inside the caller's transaction.

    Raises:
        Refused: they are a later version's.
    """
    settings = config()
    settings.attributes["connection"] = connection
    try:
        command.upgrade(settings, "head")
    except CommandError as error:
        raise Refused(
            "the ledger's tables",
            got=str(error),
            expected="a revision that this version of the library knows",
            remedy="use the version of the library that wrote it, or a later one",
        ) from error


def statements(name: str) -> list[str]:
    """Return the statements of a file, which blank lines separate."""
    text = (FOLDER / "versions" / name).read_text(encoding="utf-8")
    return [statement for statement in text.split("\n\n") if statement.strip() and not statement.startswith("--")]
