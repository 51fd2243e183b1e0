"""Writing the environment: for libraries that read their settings there only, and for child processes.

Reading it is the work of `patchcore.config.settings`. A value that a person has set always wins over a default.
"""

import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager

NO_TELEMETRY: Mapping[str, str] = {
    "DO_NOT_TRACK": "1",
    "DVC_NO_ANALYTICS": "1",
    "GX_ANALYTICS_ENABLED": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
}
"""The switches that stop libraries from sending usage data to their makers."""


def set_defaults(values: Mapping[str, str]) -> None:
    """Set the variables that are not set."""
    for name, value in values.items():
        os.environ.setdefault(name, value)


def set_values(values: Mapping[str, str]) -> None:
    """Set variables, and replace the values that they have."""
    os.environ.update(values)


def unset(prefixes: tuple[str, ...]) -> None:
    """Remove every variable whose name begins with one of the prefixes."""
    for name in [name for name in os.environ if name.startswith(prefixes)]:
        del os.environ[name]


@contextmanager
def changed(values: Mapping[str, str]) -> Iterator[None]:
    """Set variables for the length of the block, then restore what was there."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def for_child(values: Mapping[str, str], without: Collection[str] = ()) -> dict[str, str]:
    """Return the environment of a child process: this one's, less some variables, with others set."""
    kept = {name: value for name, value in os.environ.items() if name not in without}
    return {**kept, **values}


def search_path(first: str) -> str:
    """Return PATH with a folder in front of the others."""
    return os.pathsep.join((first, os.environ.get("PATH", os.defpath)))
