"""What was measured of a bank stands in its record; of banks that were recorded before, nothing does.

A record's digest leaves out what is null, so that those of earlier records stay as they are.
"""

from alembic import op

from patchcore.adapters.ledger.migrations import statements

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the columns."""
    connection = op.get_bind()
    for statement in statements(f"evaluation_0002.{connection.dialect.name}.sql"):
        connection.exec_driver_sql(statement)
