"""A workspace with several bank versions that differ a little, registered without flows: what promotions choose from.

The banks are that of `built_category` with fewer rows each: real banks that score, and that the gate finds as good.
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from patchcore._util.files import read_json
from patchcore.adapters.mlflow.registry import BankBuild
from patchcore.bank.format import BankArrays, read, save
from patchcore.config.params import Params
from patchcore.config.workspace import Workspace
from patchcore.dataset.manifest import Manifest, scan
from patchcore.lifecycle.bank_cache import bank_record
from patchcore.lifecycle.dataset_records import record_dataset
from patchcore.lifecycle.production import promotion
from patchcore.lifecycle.production.gating import judge
from patchcore.lifecycle.production.promotion import Promotion
from patchcore.lifecycle.services import Services, open_services
from patchcore.steps.evaluate import metrics_of
from tests.support.places import REPOSITORY
from tests.support.workspaces import made_once

CATEGORY = "part"
_ELSEWHERE = ("MLFLOW_TRACKING_URI", "PATCHCORE_LEDGER_URL", "PATCHCORE_WORKSPACE")


@pytest.fixture(scope="session")
def registered(built_category: Workspace, small_params: Params, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace with versions 1, 2 and 3 of part, none in production. Not to be changed."""

    def make(workspace: Workspace) -> list[Any]:
        shutil.copytree(built_category.root, workspace.root)
        _write(workspace.params, small_params.model_dump(mode="json", by_alias=True))
        shutil.copy(REPOSITORY / "dvc.yaml", workspace.pipeline)
        with pytest.MonkeyPatch.context() as patch:
            for name in _ELSEWHERE:
                patch.delenv(name, raising=False)
            register(with_gate(workspace, normals_at_least=5, defects_at_least=5), 3)
        return []

    return made_once(tmp_path_factory, "registered", make)[0]


@pytest.fixture
def candidates(
    registered: Workspace,
    copy: Callable[[Workspace, Path], Workspace],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Services:
    """Versions 1, 2 and 3 of part, none in production yet; the user is ann."""
    for name in _ELSEWHERE:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATCHCORE_USER", "ann")
    return open_services(copy(registered, tmp_path / "workspace").root)


def with_gate(workspace: Workspace, **changes: object) -> Services:
    """Change the block gate of params.yaml, and open the workspace with it."""
    params: dict[str, Any] = YAML(typ="safe", pure=True).load(workspace.params)
    assert changes.keys() <= params["gate"].keys()
    _write(workspace.params, {**params, "gate": {**params["gate"], **changes}})
    return open_services(workspace.root)


def promote(services: Services, version: int, **options: Any) -> Promotion:
    """Judge a version and carry the verdict out."""
    bank = bank_record(services, CATEGORY, version)
    judgement = judge(services, CATEGORY, bank)
    return promotion.promote(services, CATEGORY, bank, judgement, **{"reason": f"try {version}", **options})


def register(services: Services, count: int) -> None:
    """Register so many variants of the bank in the workspace, in MLflow and in the ledger."""
    manifest = scan(services.workspace, CATEGORY)
    dataset = record_dataset(services, CATEGORY)
    for number in range(count):
        build = _variant(services.workspace, manifest, number)
        version = services.registry.register(CATEGORY, build)
        services.ledger.record_bank(
            CATEGORY,
            version.version,
            build.bank_sha256,
            dataset_version=dataset.number,
            dataset_sha256=dataset.sha256,
            run_id=version.run_id,
            git_commit=None,
            evaluation_sha256=build.evaluation_sha256,
            metrics=build.metrics,
        )


def _variant(workspace: Workspace, manifest: Manifest, fewer: int) -> BankBuild:
    """Make the workspace's bank, with so many rows fewer."""
    config, arrays, images = read(workspace.bank(CATEGORY))
    rows = len(arrays.rows) - fewer
    description = config.model_dump(mode="json", exclude={"format", "files", "checksum"})
    description["coreset"] = {**description["coreset"], "rows": rows}
    kept = BankArrays(arrays.rows[:rows], arrays.radii[:rows], arrays.sources[:rows], arrays.calibration)
    folder = workspace.root / "variants" / str(fewer)
    return BankBuild(
        bank=folder,
        bank_sha256=save(folder, kept, images, description),
        run_name=f"part with {rows} rows",
        params={},
        metrics=metrics_of(read_json(workspace.metrics(CATEGORY))),
        dataset_version=1,
        dataset_sha256=manifest.sha256,
        evaluation_sha256=manifest.evaluation_sha256,
        pointers={},
        git_commit=None,
    )


def _write(path: Path, params: dict[str, Any]) -> None:
    with path.open("w") as stream:
        YAML(typ="safe", pure=True).dump(params, stream)
