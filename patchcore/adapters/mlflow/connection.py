"""The connection to MLflow: no telemetry, no progress bars, and an error within seconds if MLflow does not answer."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from patchcore.config.environment import NO_TELEMETRY, changed, set_defaults
from patchcore.errors import RegistryUnavailable

if TYPE_CHECKING:
    from mlflow import MlflowClient

# MLflow reads its settings from the environment alone. What a user has set there stays.
_QUIET = {
    **NO_TELEMETRY,
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_UV_AUTO_DETECT": "false",
}
_IMPATIENT = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1", "MLFLOW_HTTP_REQUEST_TIMEOUT": "3"}  # seconds
_SERVICE_PACKAGES = frozenset({"mlflow", "requests", "sqlalchemy", "urllib3"})


def connect(uri: str) -> "MlflowClient":
    """Return a client of the MLflow at this URI after it answered. A new SQLite database gets its tables (seconds).

    Raises:
        RegistryUnavailable: It does not answer within about ten seconds, or is not MLflow.
    """
    set_defaults(_QUIET)
    with answering(uri), changed(_IMPATIENT):
        from mlflow import MlflowClient

        for package in ("mlflow", "alembic"):
            logging.getLogger(package).setLevel(logging.ERROR)
        _open_database_once(uri)
        client = MlflowClient(uri, registry_uri=uri)
        client.search_experiments(max_results=1)
        return client


@contextmanager
def answering(uri: str) -> Iterator[None]:
    """Turn the exceptions of MLflow and the libraries below it in the block into `RegistryUnavailable`."""
    try:
        yield
    except Exception as error:
        package = type(error).__module__.partition(".")[0]
        if package not in _SERVICE_PACKAGES and not isinstance(error, OSError | ImportError):
            raise
        raise RegistryUnavailable(
            f"MLflow at {without_password(uri)}",
            got=_reason(error).replace(uri, without_password(uri)),
            expected="an answer",
            remedy="start the server, or set MLFLOW_TRACKING_URI to one that answers",
        ) from error


def without_password(uri: str) -> str:
    """Return a URI without its password, for messages and logs."""
    password = urlsplit(uri).password
    return uri.replace(f":{password}@", ":***@") if password else uri


def _open_database_once(uri: str) -> None:
    # MLflow itself tries to open a database for more than a minute and a half before it gives up.
    from mlflow.store.db.db_types import DATABASE_ENGINES
    from mlflow.store.db.utils import create_sqlalchemy_engine

    if urlsplit(uri).scheme.partition("+")[0] not in DATABASE_ENGINES:
        return
    engine = create_sqlalchemy_engine(uri)  # type: ignore[no-untyped-call]
    if engine.dialect.name == "sqlite" and engine.url.database:
        Path(engine.url.database).parent.mkdir(parents=True, exist_ok=True)
    with engine.connect() as connection:
        engine.dialect.get_table_names(connection)
    engine.dispose()


def _reason(error: BaseException) -> str:
    """Return one line: the operating system's error if that is the cause, else MLflow's."""
    root = error
    cause: BaseException | None = error
    while cause:
        root = cause if isinstance(cause, OSError) else root
        cause = cause.__cause__ or cause.__context__
    lines = str(root).strip().splitlines()
    return lines[0][:300] if lines else type(root).__name__
