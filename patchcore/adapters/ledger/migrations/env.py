"""What Alembic runs: the migrations, on the connection that it is given; Alembic's own command gives it none."""

from alembic import context


def run() -> None:
    """Run the migrations."""
    context.configure(connection=context.config.attributes["connection"])
    with context.begin_transaction():
        context.run_migrations()


if __name__ == "env_py":  # so Alembic calls this file when it loads it
    run()
