"""Guards that act on a replica too, and one more: a link is added at the end of the chain and nowhere else.

Whoever may add records could use up the last number there is, and nothing could be added ever after.
"""

from alembic import op

from patchcore.adapters.ledger.migrations import statements

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Arm the guards."""
    connection = op.get_bind()
    for statement in statements(f"guards_0003.{connection.dialect.name}.sql"):
        connection.exec_driver_sql(statement)
