"""The ledger's tables and guards. A revision holds statements and imports none of this library, so it never changes."""

from pathlib import Path

from alembic import op

revision = "0004"
down_revision = None


def upgrade() -> None:
    """Make the tables."""
    connection = op.get_bind()
    file = Path(__file__).with_name(f"schema_0004.{connection.dialect.name}.sql")
    for statement in file.read_text(encoding="utf-8").split("\n\n"):
        if not statement.startswith("--"):
            connection.exec_driver_sql(statement)
