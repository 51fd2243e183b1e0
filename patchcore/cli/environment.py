"""Where Prefect keeps its things, set before Prefect is imported; and every phone-home switch, off."""

from patchcore.config.environment import NO_TELEMETRY, set_defaults
from patchcore.config.workspace import Workspace

_QUIET = {
    **NO_TELEMETRY,
    # The flow's log goes to Prefect; a person at the terminal gets progress bars, tables and one line of error.
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
    "PREFECT_CLI_PROMPT": "false",
    # Two seconds of silence from a database that is being written elsewhere are no reason to give up.
    "PREFECT_SERVER_DATABASE_TIMEOUT": "60",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
}


def prepare(workspace: Workspace) -> None:
    """Let Prefect keep its database in the workspace, unless the environment says where its server or its home is."""
    set_defaults({**_QUIET, "PREFECT_HOME": str(workspace.prefect_home)})
    workspace.prefect_home.mkdir(parents=True, exist_ok=True)
