"""How the ledger's tables are made, and brought to the revision of this version; with Alembic.

A revision is a file of statements for each kind of database, so that the administrator can read them before they
run. Ledgers of version 0.1.0 carry revision 0003: the same tables, made in three steps. They are used as they are, and
stamped with the number of today's revision when a person migrates or upgrades.
"""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection

FOLDER = Path(__file__).parent


def config() -> Config:
    """Return Alembic's settings."""
    settings = Config()
    settings.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    return settings


def upgrade(connection: Connection) -> None:
    """Make the tables, inside the caller's transaction."""
    settings = config()
    settings.attributes["connection"] = connection
    command.upgrade(settings, "head")


def stamp(connection: Connection) -> None:
    """Give tables that are those of the last revision its number, inside the caller's transaction."""
    settings = config()
    settings.attributes["connection"] = connection
    command.stamp(settings, "head", purge=True)
