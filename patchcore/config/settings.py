"""Every environment variable that this library reads, in one frozen object.

Nothing else reads the environment, so this is the list: `variables` returns it with descriptions and defaults, and the
reference in the docs is generated from it. Importing this module imports pydantic-settings: import it where it is used.

    >>> [variable.default for variable in variables() if variable.name == "PATCHCORE_ARCHIVE"]
    ['WORKSPACE/archive']
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


def _variable(name: str, default: str, description: str, *, internal: bool = False) -> Any:
    """Return a field that a variable fills; ``default`` says in words what applies if it is not set."""
    return Field(
        None,
        validation_alias=name,
        description=description,
        json_schema_extra={"default_in_words": default, "internal": internal},
    )


class Settings(BaseSettings):
    """The settings of a process. A variable that is not set, or is empty, is None.

    Attributes:
        workspace: PATCHCORE_WORKSPACE.
        user: PATCHCORE_USER.
        ledger_url: PATCHCORE_LEDGER_URL.
        archive: PATCHCORE_ARCHIVE.
        anchor_file: PATCHCORE_ANCHOR_FILE.
        signing_key: PATCHCORE_SIGNING_KEY.
        trusted_keys: PATCHCORE_TRUSTED_KEYS; may be the empty string, which is an error where it is used.
        webhook_url: PATCHCORE_WEBHOOK_URL.
        cache: PATCHCORE_CACHE.
        mlflow_tracking_uri: MLFLOW_TRACKING_URI.
        prefect_api_url: PREFECT_API_URL.
        prefect_home: PREFECT_HOME.
        torch_home: TORCH_HOME.
        xdg_cache_home: XDG_CACHE_HOME.
        columns: COLUMNS.
        error_file: PATCHCORE_ERROR_FILE.
    """

    model_config = SettingsConfigDict(frozen=True, extra="ignore", case_sensitive=True)

    workspace: Path | None = _variable("PATCHCORE_WORKSPACE", "the current folder", "The workspace of a command.")
    user: str | None = _variable(
        "PATCHCORE_USER", "ACCOUNT@HOST", "Who promotes, overrides and withdraws, in the ledger's records."
    )
    ledger_url: str | None = _variable(
        "PATCHCORE_LEDGER_URL",
        "sqlite:///WORKSPACE/.patchcore/ledger.db",
        "The ledger's database: an SQLAlchemy URL of SQLite or PostgreSQL.",
    )
    archive: Path | None = _variable(
        "PATCHCORE_ARCHIVE", "WORKSPACE/archive", "The folder for archived images of old batches."
    )
    anchor_file: str | None = _variable(
        "PATCHCORE_ANCHOR_FILE", "no file", "A file, or a folder, outside of the workspace that keeps anchors."
    )
    signing_key: str | None = _variable(
        "PATCHCORE_SIGNING_KEY",
        "checkpoints are not signed",
        "A PEM file with the Ed25519 private key that signs the ledger's checkpoints.",
    )
    trusted_keys: str | None = _variable(
        "PATCHCORE_TRUSTED_KEYS",
        "signatures are not required",
        "The public keys that checkpoints must be signed by: 64 hexadecimal digits or PEM files, separated by commas.",
    )
    webhook_url: SecretStr | None = _variable(
        "PATCHCORE_WEBHOOK_URL", "no notifications", "The address that gets a POST for each event. It is a secret."
    )
    cache: Path | None = _variable(
        "PATCHCORE_CACHE",
        "WORKSPACE/.patchcore/runtime; without a workspace the user's cache folder",
        "The folder for networks that were converted for a runtime; several workspaces may share it.",
    )
    mlflow_tracking_uri: str | None = _variable(
        "MLFLOW_TRACKING_URI", "sqlite:///WORKSPACE/.patchcore/mlflow/mlflow.db", "The MLflow server or database."
    )
    prefect_api_url: str | None = _variable(
        "PREFECT_API_URL", "a temporary server for each command", "The Prefect server. Prefect reads it itself."
    )
    prefect_home: Path | None = _variable(
        "PREFECT_HOME", "WORKSPACE/.patchcore/prefect", "The folder of Prefect's own database. Prefect reads it itself."
    )
    torch_home: Path | None = _variable(
        "TORCH_HOME", "torch in the user's cache folder", "The folder where torchvision keeps downloaded weights."
    )
    xdg_cache_home: Path | None = _variable("XDG_CACHE_HOME", "~/.cache", "The user's cache folder.")
    columns: str | None = _variable(
        "COLUMNS", "the terminal's width; 120 where output is not a terminal", "The width of tables, in characters."
    )
    error_file: Path | None = _variable(
        "PATCHCORE_ERROR_FILE",
        "errors are printed",
        "Where a stage writes its error for the flow that started it.",
        internal=True,
    )

    @field_validator("*", mode="before")
    @classmethod
    def _empty_is_unset(cls, value: object, field: ValidationInfo) -> object:
        return None if value == "" and field.field_name != "trusted_keys" else value


@dataclass(frozen=True)
class Variable:
    """An environment variable, for the reference.

    Attributes:
        name: Of the variable.
        default: What applies if it is not set, in words.
        description: What it is for.
        internal: Set by this library for its own processes, not by people.
    """

    name: str
    default: str
    description: str
    internal: bool


def read_settings() -> Settings:
    """Return the settings of this process, as its environment is now."""
    return Settings()


def variables() -> list[Variable]:
    """Return every environment variable that this library reads, in the order of `Settings`."""
    found = []
    for field in Settings.model_fields.values():
        extra: Any = field.json_schema_extra
        name, words = str(field.validation_alias), field.description or ""
        found.append(Variable(name, extra["default_in_words"], words, extra["internal"]))
    return found
