"""What several test modules share: drawn parts, small parameters, one extractor, one built category."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from ruamel.yaml import YAML

from patchcore.config.params import Params, load_params
from patchcore.config.workspace import Workspace
from patchcore.dataset.manifest import scan, write_manifest
from patchcore.extraction.extractor import Extractor, open_extractor
from patchcore.steps import build, evaluate, extract
from tests.support.places import REPOSITORY

# flows and commands; a database; MLflow and Prefect; ledgers; bank versions to promote
pytest_plugins = (
    "tests.support.workspaces",
    "tests.support.postgresql",
    "tests.support.servers",
    "tests.support.ledgers",
    "tests.support.fake_services",
    "tests.support.registered_banks",
)

for switch, value in {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "DVC_NO_ANALYTICS": "1",
    "GX_ANALYTICS_ENABLED": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # As every command has it: a busy machine takes its time. Prefect reads it once, when it is imported.
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
}.items():
    os.environ[switch] = value

Sample = Callable[[int, int], int]

# A test that asks for one of these gets a marker with the service's name: pytest -m "not postgresql".
_SERVICES = frozenset({"mlflow_server", "postgresql_server", "prefect_server"})

# What takes longest begins first, so that no worker of pytest-xdist is left alone with it in the end. The second of
# them does not need the bank that the first one builds for all.
_FIRST = (
    "test_flows",
    "test_kill",
    "test_at_once",
    "test_mlflow_server",
    "test_watch",
    "test_solar_cells",
    "test_serve",
    "test_mutations",
    "test_evidence",
    "test_bad_input",
    "test_batches",
    "test_concurrent_promotions",
    "test_washers",
)

if _WORKER := "PYTEST_XDIST_WORKER" in os.environ:
    # The workers share the cores: more threads would only wait for one another. Set before anything loads OpenMP; what
    # a test shows about the number of threads, it shows with numbers of its own.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--all",
        action="store_true",
        help="also run tests marked slow, and try every case where other runs try a sample (make test-all)",
    )


@pytest.fixture(scope="session")
def sample(pytestconfig: pytest.Config) -> Sample:
    """Choose how many cases a test tries: a sample, or with --all every one."""
    return lambda some, every: every if pytestconfig.getoption("--all") else some


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--all"):
        slow = [item for item in items if item.get_closest_marker("slow")]
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if item not in slow]
    for item in items:
        for fixture in _SERVICES & set(getattr(item, "fixturenames", ())):
            item.add_marker(fixture.removesuffix("_server"))
    if _WORKER:
        rank = {name: place for place, name in enumerate(_FIRST)}
        items.sort(key=lambda item: rank.get(item.path.stem, len(rank)))


@pytest.fixture(scope="session", autouse=True)
def _cache_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Networks are converted once a session, for all workers, and nothing is left in the user's cache."""
    own = tmp_path_factory.getbasetemp()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATCHCORE_CACHE", str((own.parent if _WORKER else own) / "cache"))
        yield


class Draw(Protocol):
    """Draws a part, uint8 (96, 96, 3): a ring on a grainy ground, a little different for each seed."""

    def __call__(self, seed: int, *, scratch: bool = False) -> NDArray[np.uint8]: ...


def _draw(seed: int, *, scratch: bool = False) -> NDArray[np.uint8]:
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[0:96, 0:96]
    centre = 48 + generator.uniform(-2, 2, 2)
    radius = np.hypot(y - centre[0], x - centre[1])
    levels = 90 + 80 * np.exp(-(((radius - 26) / 6) ** 2)) + generator.normal(0, 4, (96, 96))
    if scratch:
        levels[SCRATCH] = 250
    return np.repeat(np.clip(levels, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


SCRATCH = (slice(60, 66), slice(20, 64))


@pytest.fixture(scope="session")
def draw() -> Draw:
    return _draw


@pytest.fixture(scope="session")
def scratch() -> tuple[slice, slice]:
    """Where `draw` puts its scratch: rows and columns."""
    return SCRATCH


@pytest.fixture(scope="session")
def small_params() -> Params:
    """The repository's parameters with small images, a dense coreset and one category."""
    loaded = load_params(REPOSITORY / "params.yaml")
    return loaded.model_copy(
        update={
            "categories": ("part",),
            "extract": loaded.extract.model_copy(update={"image_size": 96, "batch_size": 4}),
            "build": loaded.build.model_copy(update={"coreset_ratio": 0.05, "held_out_share": 0.4}),
            "evaluate": loaded.evaluate.model_copy(update={"example_heatmaps": 3}),
        }
    )


@pytest.fixture(scope="session")
def extractor(small_params: Params) -> Extractor:
    """EfficientNet-Lite0 with its real weights at 96 pixels: a grid of 12 x 12 patches of 152 features."""
    return open_extractor(small_params.extract)


@pytest.fixture(scope="session")
def built_category(small_params: Params, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace with the category `part`, drawn, with masks, its features, bank and metrics. To be copied first."""
    from tests.support.workspaces import made_once

    def make(workspace: Workspace) -> list[Any]:
        _draw_category(workspace)
        for step in (extract, build, evaluate):
            step.run(workspace, "part", small_params)
        return []

    return made_once(tmp_path_factory, "built", make)[0]


def _draw_category(workspace: Workspace) -> None:
    """Draw the images and masks of a category, and write its manifest."""
    part = workspace.category("part")
    for number in range(20):
        _save(part / f"train/good/{number:02}.png", _draw(number))
    for number in range(5):
        _save(part / f"test/good/{number}.png", _draw(100 + number))
        _save(part / f"test/scratch/{number}.png", _draw(200 + number, scratch=True))
        mask = np.zeros((96, 96), dtype=np.uint8)
        mask[SCRATCH] = 255
        _save(part / f"ground_truth/scratch/{number}_mask.png", mask)
    write_manifest(workspace.manifest("part"), scan(workspace, "part"))


@pytest.fixture
def copied_category(built_category: Workspace, tmp_path: Path, small_params: Params) -> Workspace:
    """A copy of the built category, to be changed, with a params.yaml and a dvc.yaml."""
    copied = Workspace(Path(shutil.copytree(built_category.root, tmp_path / "workspace")))
    dumped = small_params.model_dump(mode="json", by_alias=True)
    with copied.params.open("w") as stream:
        YAML(typ="safe", pure=True).dump(dumped, stream)
    shutil.copy(REPOSITORY / "dvc.yaml", copied.pipeline)
    return copied


def _save(path: Path, pixels: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
