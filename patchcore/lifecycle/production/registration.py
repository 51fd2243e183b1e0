"""From what the stages wrote to a bank version in MLflow and in the ledger."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from patchcore._util.files import read_json
from patchcore.adapters.ledger.records import BankRecord, DatasetVersion
from patchcore.adapters.mlflow.registry import BankBuild
from patchcore.config.params import Params
from patchcore.config.workspace import HEATMAPS, SCORES
from patchcore.dataset.manifest import read_manifest
from patchcore.lifecycle.dataset_records import record_dataset
from patchcore.lifecycle.services import Services, who
from patchcore.steps.evaluate import metrics_of


@dataclass(frozen=True)
class RegisteredBank:
    """A registered bank version.

    Attributes:
        bank: The ledger's record.
        metrics: What was measured of it, by name; None where a metric is undefined.
        threshold: The score above which an image is anomalous.
        new: Whether it is a new version; False if its bytes were registered before.
    """

    bank: BankRecord
    metrics: Mapping[str, float | None]
    threshold: float
    new: bool


def register(services: Services, category: str, *, tags: Mapping[str, str]) -> RegisteredBank:
    """Register the bank in the workspace in MLflow and in the ledger; a bank that is known already keeps its version.

    Args:
        services: The opened workspace.
        category: The category of the bank.
        tags: More tags for the run and the version, such as the flow run's id.

    Raises:
        InvalidBank: The bank's files are not those that were evaluated.
        RegistryUnavailable: MLflow does not answer.
        LedgerUnavailable: The ledger cannot be written.
    """
    workspace = services.workspace
    manifest = read_manifest(workspace.manifest(category))
    dataset = services.ledger.dataset_of(category, manifest.sha256) or record_dataset(services, category)
    built = read_json(workspace.build_metrics(category))
    build = _build(services, category, dataset, tags, _metrics_of_build(built))
    known = services.registry.find(category, build.bank_sha256)
    registered = known or services.registry.register(category, build)
    bank = services.ledger.record_bank(
        category,
        version=registered.version,
        bank_sha256=build.bank_sha256,
        dataset_version=dataset.number,
        dataset_sha256=dataset.sha256,
        run_id=registered.run_id,
        git_commit=build.git_commit,
        evaluation_sha256=build.evaluation_sha256,
        metrics=build.metrics,
    )
    return RegisteredBank(bank, build.metrics, float(built["threshold"]["value"]), new=known is None)


def flat_params(params: Params) -> dict[str, object]:
    """Return params.yaml as nested values, by the names that the file uses."""
    return params.model_dump(mode="json", by_alias=True)


def _build(
    services: Services,
    category: str,
    dataset: DatasetVersion,
    tags: Mapping[str, str],
    metrics_of_build: Mapping[str, float | None],
) -> BankBuild:
    workspace = services.workspace
    results = workspace.evaluation_results(category)
    report = read_json(workspace.metrics(category))
    return BankBuild(
        bank=workspace.bank(category),
        bank_sha256=report["bank_sha256"],
        run_name=f"{category} data-set version {dataset.number}",
        params=flat_params(services.params),
        metrics=metrics_of(report) | dict(metrics_of_build),
        dataset_version=dataset.number,
        dataset_sha256=dataset.sha256,
        evaluation_sha256=report["evaluation_sha256"],
        pointers=services.versioning.pointer_texts(category),
        git_commit=services.versioning.head(),
        files=[workspace.params, workspace.lock_file, workspace.validation(category), results / SCORES],
        plots=[
            workspace.roc_plot(category),
            workspace.histogram_plot(category),
            workspace.radius_plot(category),
        ],
        heatmaps=sorted((results / HEATMAPS).glob("*.png")),
        author=who(),
        tags=tags,
    )


def _metrics_of_build(built: Mapping[str, Any]) -> dict[str, float | None]:
    """Return the numbers that are registered of a build, from what the build stage wrote."""
    coreset = built["coreset"]
    return {
        "threshold": built["threshold"]["value"],
        "bank_rows": coreset["rows"],
        "covering_radius": coreset["radius"],
        **{name: coreset[name] for name in ("arrivals", "rows_added", "rows_merged")},
    }
