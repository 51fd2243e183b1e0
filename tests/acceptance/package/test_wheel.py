"""The wheel in a new environment, far from the repository: what it runs, and what it needs for that.

The new environments reuse what is installed for the tests, so nothing is downloaded. The library itself comes from the
wheel alone.
"""

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path
from zipfile import ZipFile

import pytest
from PIL import Image

from patchcore.adapters.ledger import Ledger
from patchcore.config.workspace import Workspace
from tests.conftest import SCRATCH, Draw
from tests.support.ledgers import fill
from tests.support.places import REPOSITORY
from tests.support.workspaces import Run

INSTALLED = Path(sysconfig.get_path("purelib"))
# What the extra `verify` names, and what these two import themselves.
FOR_VERIFYING = ("pyarrow", "cryptography", "cffi", "_cffi_backend*", "pycparser")
SMALL = """
extract: {image_size: 96}
build: {coreset_ratio: 0.1}
gate:
  image_auroc_at_least: 0.5
  pixel_auroc_at_least: 0.5
  aupro_at_least: 0.1
  normals_at_least: 4
  defects_at_least: 4
versioning: {push: false}
"""


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=REPOSITORY, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


def _new_environment(folder: Path) -> tuple[Path, Path]:
    """Make an environment with nothing in it; return its Python and the folder of its libraries."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    (libraries,) = folder.glob("lib/python*/site-packages")
    return folder / "bin" / "python", libraries


def _install(wheel: Path, python: Path) -> None:
    options = ["install", "--quiet", "--no-deps", "--no-index", "--ignore-installed"]
    subprocess.run([sys.executable, "-m", "pip", "--python", python, *options, wheel], check=True)


def _run(*command: object, folder: Path, check: bool = True, **more: str) -> subprocess.CompletedProcess[str]:
    """Run a program far from the repository, as a person would whose shell knows nothing of it."""
    kept = {name: value for name, value in os.environ.items() if name in {"LANG", "OMP_NUM_THREADS", "PATH"}}
    home = {"HOME": str(folder), "GIT_CONFIG_GLOBAL": os.devnull, "PATCHCORE_CACHE": os.environ["PATCHCORE_CACHE"]}
    words = [str(word) for word in command]
    done = subprocess.run(words, cwd=folder, env={**kept, **home, **more}, capture_output=True, text=True, check=False)
    assert not check or done.returncode == 0, done.stderr
    return done


def test_the_wheel_holds_the_packages_the_templates_and_the_marks_of_types(wheel: Path) -> None:
    names = set(ZipFile(wheel).namelist())
    assert {"patchcore/py.typed", "flows/py.typed", "patchcore/template/dvc.yaml"} <= names
    assert not [name for name in names if name.startswith(("tests/", "docs/", "benchmarks/"))]


@pytest.fixture
def exported(run: Run, tmp_path: Path) -> Path:
    """The export of a ledger that `fill` filled."""
    workspace, folder = Workspace(tmp_path / "exporting"), tmp_path / "export"
    assert run("init", workspace.root).returncode == 0
    fill(Ledger(f"sqlite:///{workspace.ledger}"))
    done = run("audit", "export", folder, "-w", workspace.root)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow
def test_a_workspace_is_made_retrained_and_scored_with_the_wheel(wheel: Path, draw: Draw, tmp_path: Path) -> None:
    python, libraries = _new_environment(tmp_path / "environment")
    (libraries / "reused.pth").write_text(f"{INSTALLED}\n")  # a path in a .pth file: the .pth files there do not count
    _install(wheel, python)
    where = _run(python, "-c", "import patchcore; print(patchcore.__file__)", folder=tmp_path).stdout.strip()
    assert Path(where).is_relative_to(libraries)
    patchcore = python.with_name("patchcore")
    workspace, images = tmp_path / "workspace", tmp_path / "images"
    _draw_images(images, draw)
    _run(patchcore, "init", workspace, folder=tmp_path)
    (workspace / "params.yaml").write_text(f"categories: []\n{SMALL}")
    _run(patchcore, "add", "part", images, "-w", workspace, folder=tmp_path)
    trained = json.loads(_run(patchcore, "retrain", "part", "--json", "-w", workspace, folder=tmp_path).stdout)
    assert trained["promoted"] is True
    batch = ["score", "part", images / "batch", "--batch", "4711", "--json", "-w", workspace]
    scored = json.loads(_run(patchcore, *batch, folder=tmp_path).stdout)
    assert [Path(image["path"]).stem for image in scored["images"] if image["anomalous"]] == ["scratched"]
    # The bank that was built scores without a workspace, too.
    code = (
        "import numpy, patchcore, sys; from pathlib import Path; from PIL import Image; "
        "bank = patchcore.MemoryBank.load(Path(sys.argv[1])); "
        "scores = bank.score([numpy.asarray(Image.open(path)) for path in sys.argv[2:]]).image; "
        "print(*bank.anomalous(scores))"
    )
    files = [images / "batch" / f"{name}.png" for name in ("good", "scratched")]
    done = _run(python, "-c", code, workspace / "work" / "part" / "bank", *files, folder=tmp_path)
    assert done.stdout.split() == ["False", "True"]


def test_an_export_is_verified_with_pyarrow_and_cryptography_alone(wheel: Path, tmp_path: Path, exported: Path) -> None:
    python, libraries = _new_environment(tmp_path / "environment")
    _install(wheel, python)
    for pattern in FOR_VERIFYING:
        for found in INSTALLED.glob(pattern):
            (libraries / found.name).symlink_to(found)
    for name in ("numpy", "pydantic", "sqlalchemy"):
        assert _run(python, "-c", f"import {name}", folder=tmp_path, check=False).returncode == 1
    done = _run(python, "-m", "patchcore.evidence", exported, folder=tmp_path)
    assert json.loads(done.stdout)["ok"] is True
    next(exported.glob("chain.*")).write_bytes(b"")
    done = _run(python, "-m", "patchcore.evidence", exported, folder=tmp_path, check=False)
    assert done.returncode == 3
    assert "chain.parquet" in done.stdout


def test_a_command_that_lacks_libraries_says_which_extra_has_them(wheel: Path, tmp_path: Path) -> None:
    """With the dependencies of the wheel alone the command line starts, and verifies exports."""
    python, libraries = _new_environment(tmp_path / "environment")
    (libraries / "reused.pth").write_text(f"{INSTALLED}\n")
    _install(wheel, python)
    absent = "dvc mlflow prefect sqlalchemy alembic great_expectations pandas filelock httpx jinja2 matplotlib"
    # Runs first in every process: these modules are not found there.
    (libraries / "sitecustomize.py").write_text(f"import sys\nsys.modules.update(dict.fromkeys({absent!r}.split()))\n")
    done = _run(python.with_name("patchcore"), "init", "workspace", "--json", folder=tmp_path, check=False)
    assert done.returncode == 1, done.stderr
    assert json.loads(done.stdout)["error"]["code"] == "missing-extra"
    assert "patchcore-lifecycle[pipeline]" in done.stderr
    code = "import patchcore; [getattr(patchcore, name) for name in patchcore.__all__]"
    _run(python, "-c", code, folder=tmp_path)


def _draw_images(folder: Path, draw: Draw) -> None:
    """Draw a category in MVTec layout, and a batch of a good and a scratched part."""
    mask = Image.new("L", (96, 96))
    rows, columns = SCRATCH
    mask.paste(255, (columns.start, rows.start, columns.stop, rows.stop))
    for part in ("train/good", "test/good", "test/scratch", "ground_truth/scratch", "batch"):
        (folder / part).mkdir(parents=True)
    for number in range(20):
        Image.fromarray(draw(number)).save(folder / "train" / "good" / f"{number:02}.png")
    for number in range(5):
        Image.fromarray(draw(100 + number)).save(folder / "test" / "good" / f"{number}.png")
        Image.fromarray(draw(200 + number, scratch=True)).save(folder / "test" / "scratch" / f"{number}.png")
        mask.save(folder / "ground_truth" / "scratch" / f"{number}_mask.png")
    Image.fromarray(draw(300)).save(folder / "batch" / "good.png")
    Image.fromarray(draw(301, scratch=True)).save(folder / "batch" / "scratched.png")
