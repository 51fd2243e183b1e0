"""The environment is read in one place, and written in one place."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from patchcore.config.settings import Settings, read_settings, variables
from tests.support.places import REPOSITORY

_MAY_TOUCH_THE_ENVIRONMENT = {"patchcore/config/environment.py"}  # it writes; settings.py reads through pydantic


def _sources() -> Iterator[Path]:
    for package in ("patchcore", "flows"):
        yield from (REPOSITORY / package).rglob("*.py")


def test_nothing_else_touches_the_environment() -> None:
    touching = set()
    for path in _sources():
        for node in ast.walk(ast.parse(path.read_text())):
            attribute = isinstance(node, ast.Attribute) and node.attr in {"environ", "environb", "getenv", "putenv"}
            imported = isinstance(node, ast.ImportFrom) and node.module == "os" and "env" in ast.unparse(node)
            if attribute or imported:
                touching.add(path.relative_to(REPOSITORY).as_posix())
    assert touching == _MAY_TOUCH_THE_ENVIRONMENT


def test_every_variable_is_described_with_its_default() -> None:
    assert len({variable.name for variable in variables()}) == len(Settings.model_fields)
    assert all(variable.default and variable.description.endswith(".") for variable in variables())


def test_every_variable_of_the_code_and_of_the_errors_is_a_setting() -> None:
    known = {variable.name for variable in variables()}
    named = set()
    for path in _sources():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                words = "".join(sign if sign.isalnum() or sign == "_" else " " for sign in node.value).split()
                named |= {word for word in words if word.startswith("PATCHCORE_") and word.isupper()}
    assert named <= known


@pytest.mark.parametrize(("value", "expected"), [(None, None), ("", None), ("ana", "ana")])
def test_an_empty_variable_is_one_that_is_not_set(
    value: str | None, expected: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PATCHCORE_USER", raising=False)
    if value is not None:
        monkeypatch.setenv("PATCHCORE_USER", value)
    assert read_settings().user == expected


def test_a_secret_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATCHCORE_WEBHOOK_URL", "https://chat.example/secret")
    assert "secret" not in repr(read_settings())


def test_the_evidence_alone_needs_neither_pydantic_nor_numpy() -> None:
    code = (
        "import sys; "
        "import patchcore.evidence.export_verification, patchcore.evidence.signing, patchcore.evidence.export; "
        "sys.exit(bool({'pydantic', 'numpy', 'sqlalchemy', 'typer'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
