"""The JSON Schemas in the docs are those of the code, and every command that prints JSON has one."""

import json
from pathlib import Path

import pytest
import typer
from jsonschema import Draft202012Validator

from patchcore.cli.app import app
from patchcore.cli.schemas import MODELS, file_of, schema_of, write_schemas
from tests.support.places import REPOSITORY

FOLDER = REPOSITORY / "docs" / "reference" / "schemas"


# Records of the ledger, as they stand in results.
RECORDS = {
    *("Archive", "BankRecord", "BatchRecord", "Checkpoint", "DatasetVersion", "Decision", "Disagreement", "Member"),
    "Override",
}


def _with_json(group: object, above: str = "") -> set[str]:
    found = set()
    for name, command in group.commands.items():  # type: ignore[attr-defined]
        if hasattr(command, "commands"):
            found |= _with_json(command, f"{above}{name} ")
        elif any("--json" in parameter.opts for parameter in command.params):
            found.add(above + name)
    return found


def test_every_command_that_prints_json_has_a_schema() -> None:
    assert _with_json(typer.main.get_command(app)) == set(MODELS)


def test_the_schemas_in_the_docs_are_those_of_the_code() -> None:
    assert {file.name for file in FOLDER.iterdir()} == {file_of(command) for command in MODELS}
    for command in MODELS:
        written = json.loads((FOLDER / file_of(command)).read_text(encoding="utf-8"))
        assert written == schema_of(command), "run: python -m patchcore.cli.schemas docs/reference/schemas"


@pytest.mark.parametrize("command", sorted(MODELS))
def test_a_schema_is_one_and_describes_every_key(command: str) -> None:
    schema = schema_of(command)
    Draft202012Validator.check_schema(schema)
    definitions = [part for name, part in schema["$defs"].items() if name not in RECORDS]
    for part in (schema, *definitions):
        missing = [name for name, field in part.get("properties", {}).items() if not field.get("description")]
        assert not missing, part.get("title")


def test_files_of_commands_that_are_gone_are_removed(tmp_path: Path) -> None:
    (tmp_path / "gone.json").write_text("{}")
    write_schemas(tmp_path)
    assert not (tmp_path / "gone.json").exists()
