"""What `import patchcore` offers, and what it costs."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import patchcore
from patchcore.config.workspace import Workspace
from tests.conftest import Draw
from tests.support.places import REPOSITORY

FACADES = ("bank", "coreset", "evaluation", "evidence", "extraction", "images", "search")


def test_importing_the_library_imports_no_other() -> None:
    code = (
        "import sys; before = {name.split('.')[0] for name in sys.modules}; import patchcore; dir(patchcore); "
        "new = {name.split('.')[0] for name in sys.modules} - before - sys.stdlib_module_names - {'patchcore'}; "
        "sys.exit(str(new) if new else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", ["patchcore", *(f"patchcore.{facade}" for facade in FACADES)])
def test_every_public_name_is_there_and_documented(name: str) -> None:
    module = importlib.import_module(name)
    assert sorted(set(module.__all__)) == sorted(module.__all__)
    for public in module.__all__:
        value = getattr(module, public)
        assert value.__doc__, public
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        module.nothing  # noqa: B018


def test_an_unknown_name_is_an_attribute_error_and_dir_lists_the_public_ones() -> None:
    assert dir(patchcore) == sorted(patchcore.__all__)
    assert patchcore.bank.MemoryBank is patchcore.MemoryBank


def test_the_example_that_scores_runs(
    built_category: Workspace, draw: Draw, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (patchcore.__doc__ or "").split("keeps::\n", 1)[1].split("\n\nDecide")[0]
    code = "\n".join(line.removeprefix("    ") for line in text.splitlines())
    code = code.replace('Path("bank")', repr(str(built_category.bank("part")))).replace("load('", "load(Path('")
    code = code.replace("')\n", "'))\n", 1)
    names = {"Path": Path, "patchcore": patchcore, "image": draw(7, scratch=True)}
    exec(code, names)  # noqa: S102
    assert "lies above the threshold" in capsys.readouterr().out
    assert isinstance(names["scores"], patchcore.Scores)
    assert names["scores"].image.dtype == np.float32


def test_the_library_itself_imports_from_modules() -> None:
    """A stage's fingerprint follows imports, and a lazy name is none."""
    for path in (REPOSITORY / "patchcore").rglob("*.py"):
        if path.name == "served_model.py":  # MLflow keeps copies of it for years: it needs names that stay
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module in {f"patchcore.{facade}" for facade in FACADES}:
                folder = REPOSITORY.joinpath(*node.module.split("."))
                modules = {file.stem for file in folder.iterdir()}
                assert {alias.name for alias in node.names} <= modules, path


@pytest.mark.parametrize("package", ["patchcore", "flows"])
def test_the_package_says_that_it_is_typed(package: str) -> None:
    assert (REPOSITORY / package / "py.typed").is_file()
