"""What runs a stage again: its data, its parameters, and a fingerprint of its code; dvc.yaml names no module."""

import re
import shutil
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from patchcore.config.pipeline import STAGES
from patchcore.steps.fingerprint import COMPUTE_WITH, closure, fingerprint_of
from tests.support.places import REPOSITORY

PIPELINE = REPOSITORY / "dvc.yaml"
# Libraries that no result is computed with: settings, files, threads, pages.
OTHERS = {"jinja2", "pandas", "pydantic", "ruamel", "safetensors", "threadpoolctl"}


def stages() -> dict[str, dict[str, object]]:
    return dict(YAML(typ="safe").load(PIPELINE)["stages"])


def copy_of_the_library(folder: Path) -> Path:
    shutil.copytree(REPOSITORY / "patchcore", folder / "patchcore", ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def digests(sources: Path) -> dict[str, str]:
    return {stage: fingerprint_of(f"patchcore.steps.{stage}", sources).code for stage in STAGES}


def test_the_pipeline_has_exactly_these_stages() -> None:
    assert tuple(stages()) == ("fingerprint", *STAGES)


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_its_fingerprint_and_on_no_module(stage: str) -> None:
    dependencies = stages()[stage]["deps"]
    assert isinstance(dependencies, list)
    assert dependencies[0] == f"work/fingerprints/{stage}.json"
    assert not [dependency for dependency in dependencies if dependency.endswith(".py")]


@pytest.mark.parametrize("stage", STAGES)
def test_every_library_that_a_stage_imports_is_known_to_compute_or_not(stage: str) -> None:
    _, libraries = closure(f"patchcore.steps.{stage}")
    unknown = libraries - set(sys.stdlib_module_names) - COMPUTE_WITH.keys() - OTHERS
    assert not unknown, f"add to COMPUTE_WITH in patchcore/steps/fingerprint.py, or to OTHERS here: {sorted(unknown)}"


def test_a_renamed_module_changes_no_fingerprint(tmp_path: Path) -> None:
    before = digests(copy_of_the_library(tmp_path / "before"))
    after = copy_of_the_library(tmp_path / "after")
    (after / "patchcore/search/simd.py").rename(after / "patchcore/coreset/a_new_name.py")
    for file in after.rglob("*.py"):
        text = file.read_text(encoding="utf-8").replace("patchcore.search.simd", "patchcore.coreset.a_new_name")
        text = text.replace("from patchcore.search import simd", "from patchcore.coreset import a_new_name")
        file.write_text(re.sub(r"\bsimd\.", "a_new_name.", text), encoding="utf-8")
    assert "patchcore.coreset.a_new_name" in closure("patchcore.steps.build", after)[0]
    assert digests(after) == before


def test_comments_and_docstrings_change_no_fingerprint(tmp_path: Path) -> None:
    before = digests(copy_of_the_library(tmp_path / "before"))
    after = copy_of_the_library(tmp_path / "after")
    file = after / "patchcore/coreset/kcenter.py"
    file.write_text('"""Other words."""\n# a comment\n\n' + file.read_text(encoding="utf-8"), encoding="utf-8")
    assert digests(after) == before


@pytest.mark.parametrize(
    ("module", "changed"),
    [
        ("coreset/kcenter", {"build"}),
        ("extraction/network", {"extract", "build", "evaluate"}),
        ("evaluation/metrics", {"build", "evaluate"}),
        ("_util/files", set(STAGES)),
        ("cli/app", set()),
        ("config/params", set()),
        ("lifecycle/services", set()),
        ("__init__", set()),
    ],
)
def test_changed_code_runs_the_stages_that_import_it_and_no_other(
    module: str, changed: set[str], tmp_path: Path
) -> None:
    before = digests(copy_of_the_library(tmp_path / "before"))
    after = copy_of_the_library(tmp_path / "after")
    file = after / f"patchcore/{module}.py"
    file.write_text(file.read_text(encoding="utf-8") + "\nONE_CONSTANT_MORE = 1\n", encoding="utf-8")
    assert {stage for stage, digest in digests(after).items() if digest != before[stage]} == changed


def test_a_fingerprint_sees_what_can_run_and_nothing_else(tmp_path: Path) -> None:
    sources = {
        "__init__": "",
        "steps/__init__": "",
        "steps/validate": "def run():\n    from patchcore.images import load\n    import numpy\n",
        "images": "if TYPE_CHECKING:\n    import patchcore.typed\nelse:\n    import patchcore.late\n",
        "late": "from patchcore.config import params\n",
        "config/__init__": "",
        "config/params": "import pydantic",
        "typed": "import scipy",
        "unused_by_validate": "",
    }
    for name, source in sources.items():
        file = tmp_path / "patchcore" / f"{name}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(source, encoding="utf-8")
    expected = {"patchcore.steps.validate", "patchcore.images", "patchcore.late"}
    assert closure("patchcore.steps.validate", tmp_path) == (expected, {"numpy"})
