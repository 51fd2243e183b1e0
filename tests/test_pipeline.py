"""dvc.yaml's code dependencies are the import closure of each stage: `python tests/test_pipeline.py` writes them."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[1]
PIPELINE = ROOT / "dvc.yaml"
STAGES = ("validate", "extract", "build", "evaluate")
ENTRY = "patchcore.__main__"


def _file_of(module: str, root: Path) -> Path | None:
    stem = root.joinpath(*module.split("."))
    candidates = (stem / "__init__.py", stem.with_suffix(".py"))
    return next((file for file in candidates if file.is_file()), None)


def _statements(node: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    """Yield the imports below a node that can run: at the top, in functions, not those for type checkers alone."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child
        elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            for other in child.orelse:
                yield from _statements(ast.Module([other], []))
        else:
            yield from _statements(child)


def _imports(file: Path, root: Path) -> set[str]:
    """Return the modules of patchcore that a file imports."""
    names: set[str] = set()
    for statement in _statements(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(statement, ast.Import):
            names.update(alias.name for alias in statement.names)
        else:
            assert statement.level == 0 and statement.module, f"{file}: imports are written absolutely"  # noqa: PT018
            names.add(statement.module)
            names.update(f"{statement.module}.{alias.name}" for alias in statement.names)
    return {name for name in names if name.split(".")[0] == "patchcore" and _file_of(name, root)}


def closure(stage: str, root: Path = ROOT) -> set[str]:
    """Return the files, as posix paths below ``root``, whose code can run when a stage does.

    The entry point dispatches to one step: its imports of other steps are not followed.
    """
    waiting = {ENTRY, f"patchcore.steps.{stage}"}
    seen: set[str] = set()
    while waiting:
        module = waiting.pop()
        seen.add(module)
        file = _file_of(module, root)
        assert file is not None, f"{module} does not exist"
        found = _imports(file, root)
        if module == ENTRY:
            found = {name for name in found if not name.startswith("patchcore.steps.")}
        parts = module.split(".")
        packages = {".".join(parts[:length]) for length in range(1, len(parts))}
        waiting |= (found | packages) - seen
    files = {_file_of(module, root) for module in seen}
    return {file.relative_to(root).as_posix() for file in files if file is not None}


def _yaml() -> YAML:
    yaml = YAML()
    yaml.width = 200
    yaml.indent(mapping=2, sequence=4, offset=2)
    return yaml


def _is_code(dependency: Any) -> bool:
    return str(dependency).startswith("patchcore/")


def _listed(stage: str) -> list[str]:
    dependencies = _yaml().load(PIPELINE)["stages"][stage]["deps"]
    return [str(dependency) for dependency in dependencies if _is_code(dependency)]


def write() -> None:
    """Write each stage's import closure into its deps, after its data."""
    yaml = _yaml()
    pipeline = yaml.load(PIPELINE)
    for stage in STAGES:
        dependencies = pipeline["stages"][stage]["deps"]
        dependencies[:] = [d for d in dependencies if not _is_code(d)] + sorted(closure(stage))
    yaml.dump(pipeline, PIPELINE)


def test_the_pipeline_has_exactly_these_stages() -> None:
    assert tuple(_yaml().load(PIPELINE)["stages"]) == STAGES


@pytest.mark.parametrize("stage", STAGES)
def test_the_code_a_stage_depends_on_is_what_it_imports(stage: str) -> None:
    listed = _listed(stage)
    missing, superfluous = closure(stage) - set(listed), set(listed) - closure(stage)
    advice = "run: python tests/test_pipeline.py"
    assert not missing, f"{stage}: not in deps: {sorted(missing)}; {advice}"
    assert not superfluous, f"{stage}: in deps, never imported: {sorted(superfluous)}; {advice}"
    assert len(listed) == len(set(listed))


def test_the_closure_sees_what_can_run_and_nothing_else(tmp_path: Path) -> None:
    sources = {
        "__init__": "",
        "__main__": "import patchcore.errors\ndef main():\n    from patchcore.steps import build, validate\n",
        "steps/__init__": "",
        "steps/build": "from patchcore import unused_by_validate\n",
        "steps/validate": "def run():\n    from patchcore.images import load\n    import numpy\n",
        "errors": "",
        "images": "if TYPE_CHECKING:\n    import patchcore.typed\nelse:\n    import patchcore.late\n",
        "late": "",
        "typed": "",
        "unused_by_validate": "",
    }
    for name, source in sources.items():
        file = tmp_path / "patchcore" / f"{name}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(source)
    expected = {"__init__", "__main__", "steps/__init__", "steps/validate", "errors", "images", "late"}
    assert closure("validate", tmp_path) == {f"patchcore/{name}.py" for name in expected}


if __name__ == "__main__":
    write()
