"""Settings for Prefect and other libraries, made before they are imported: no telemetry, and where data is kept."""

from patchcore.config.environment import NO_TELEMETRY, set_defaults
from patchcore.config.workspace import Workspace

_QUIET = {
    **NO_TELEMETRY,
    # The flow's log goes to Prefect; the terminal shows progress bars, tables and one line per error.
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
    "PREFECT_CLI_PROMPT": "false",
    # By default Prefect gives up after a database was locked for two seconds.
    "PREFECT_SERVER_DATABASE_TIMEOUT": "60",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
}


def prepare(workspace: Workspace) -> None:
    """Let Prefect keep its database in the workspace, unless the environment names its server or its home."""
    set_defaults({**_QUIET, "PREFECT_HOME": str(workspace.prefect_home)})
    workspace.prefect_home.mkdir(parents=True, exist_ok=True)
