"""A JSON Schema for what each command prints with ``--json``.

``python -m patchcore.cli.schemas FOLDER`` writes them all, as docs/reference/schemas has them. A command prints its
result, its result and an error (it did its work and then refuses), or an error alone.
"""

import importlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from patchcore._util.files import write_bytes
from patchcore._util.model import Model, describe
from patchcore.cli.result import ErrorReport

_AUDIT, _EVIDENCE, _INTAKE, _PRODUCTION, _SCORING = (
    f"patchcore.lifecycle.{part}.results" for part in ("audit", "evidence", "intake", "production", "scoring")
)

_SETUP = "patchcore.lifecycle.setup.results"
_AUDIT_BANKS = "patchcore.lifecycle.audit.bank_results"
_AUDIT_HISTORY = "patchcore.lifecycle.audit.history_results"

MODELS: Mapping[str, tuple[str, str]] = {
    "init": (_SETUP, "Initialised"),
    "add": (_SETUP, "Added"),
    "upgrade": (_SETUP, "Upgraded"),
    "ingest": (_INTAKE, "IngestReport"),
    "withdraw": (_INTAKE, "WithdrawalReport"),
    "retrain": (_PRODUCTION, "RetrainResult"),
    "promote": (_PRODUCTION, "PromotionResult"),
    "rollback": (_PRODUCTION, "RollbackResult"),
    "reconcile": (_PRODUCTION, "ReconcileResult"),
    "score": (_SCORING, "ScoreResult"),
    "override": (_SCORING, "OverrideResult"),
    "migrate": (_SETUP, "Migrated"),
    "audit batch": (_AUDIT, "BatchAnswer"),
    "audit dataset": (_AUDIT, "DatasetAnswer"),
    "audit image": (_AUDIT, "ImageAnswer"),
    "audit normal": (_AUDIT, "NormalAnswer"),
    "audit bank": (_AUDIT_BANKS, "BankAnswer"),
    "audit compare": (_AUDIT_BANKS, "ComparisonAnswer"),
    "audit at": (_AUDIT_BANKS, "ProductionAnswer"),
    "audit history": (_AUDIT_HISTORY, "HistoryAnswer"),
    "audit completeness": (_AUDIT, "CompletenessAnswer"),
    "audit verify": (_EVIDENCE, "VerificationResult"),
    "audit export": (_EVIDENCE, "ExportResult"),
    "audit archive": (_EVIDENCE, "ArchiveResult"),
    "audit anchor": (_EVIDENCE, "AnchoredResult"),
    "audit replay": (_SCORING, "ReplayResult"),
    "audit explain": (_SCORING, "ExplainResult"),
}
"""For each command with ``--json`` the module and the name of its result's model."""

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schema_of(command: str) -> dict[str, Any]:
    """Return the JSON Schema of what a command, such as ``audit batch``, prints.

    Example:
        >>> schema = schema_of("rollback")
        >>> schema["title"], "error" in schema["properties"], schema["additionalProperties"]
        ('patchcore rollback --json', True, False)
    """
    module, name = MODELS[command]
    model: type[Model] = getattr(importlib.import_module(module), name)
    schema = model.model_json_schema(mode="serialization")
    definitions = {**schema.pop("$defs", {}), "ErrorReport": ErrorReport.model_json_schema(mode="serialization")}
    for definition in definitions.values():
        if "properties" in definition:  # of a dataclass; a model has done it
            describe(definition, definition.get("description", ""))
    schema["properties"]["error"] = {"$ref": "#/$defs/ErrorReport", "description": "Why the exit code is not 0."}
    either = [{"required": schema.pop("required", [])}, {"required": ["error"]}]
    title = {"$schema": _DIALECT, "title": f"patchcore {command} --json"}
    return {**title, **{key: value for key, value in schema.items() if key != "title"}, "anyOf": either} | {
        "$defs": dict(sorted(definitions.items()))
    }


def file_of(command: str) -> str:
    """Return the name of the file that a command's schema is written to."""
    return f"{command.replace(' ', '_')}.json"


def write_schemas(folder: Path) -> None:
    """Write the schema of every command to a folder, and remove those of commands that are gone."""
    for command in MODELS:
        text = json.dumps(schema_of(command), indent=2, ensure_ascii=False) + "\n"
        write_bytes(folder / file_of(command), text.encode())
    for file in set(folder.glob("*.json")) - {folder / file_of(command) for command in MODELS}:
        file.unlink()


if __name__ == "__main__":
    write_schemas(Path(sys.argv[1]))
