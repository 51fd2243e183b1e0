"""What registered MLflow models import: each holds a copy of served_model.py, and it must still run in years."""

import ast
import importlib

import pytest

from tests.support.places import REPOSITORY

IMPORTED = {("patchcore.bank", "MemoryBank"), ("patchcore.errors", "Refused"), ("patchcore.images", "rgb_of_bytes")}


@pytest.mark.parametrize(("module", "name"), sorted(IMPORTED))
def test_a_name_that_registered_models_import_stays(module: str, name: str) -> None:
    assert callable(getattr(importlib.import_module(module), name))


def test_a_model_that_is_registered_today_imports_no_other_name() -> None:
    tree = ast.parse((REPOSITORY / "patchcore/adapters/mlflow/served_model.py").read_text(encoding="utf-8"))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    names = {(str(node.module), alias.name) for node in imports for alias in node.names}
    assert {each for each in names if each[0].split(".")[0] == "patchcore"} == IMPORTED
