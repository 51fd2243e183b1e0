"""${message}."""

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}


def upgrade() -> None:
    """Say what changes."""
    ${upgrades if upgrades else "raise NotImplementedError"}
