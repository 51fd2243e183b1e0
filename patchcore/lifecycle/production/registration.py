"""From what the stages wrote to a bank version in the registry and in the ledger."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from patchcore._util.files import read_json
from patchcore.adapters.ledger.records import BankRecord, DatasetVersion, Member
from patchcore.adapters.mlflow.registry import BankBuild
from patchcore.config.params import Params
from patchcore.config.workspace import HEATMAPS, SCORES
from patchcore.dataset.arrivals import record_arrivals
from patchcore.dataset.manifest import Manifest, normal_images, read_manifest, scan
from patchcore.lifecycle.events import unrecorded
from patchcore.lifecycle.services import Services, who
from patchcore.steps.evaluate import metrics_of

_NAMES_SHOWN = 10


@dataclass(frozen=True)
class Registered:
    """A bank version as the ledger has it, what was measured of it, and whether it is a new one."""

    bank: BankRecord
    metrics: Mapping[str, float | None]
    new: bool


def record_dataset(services: Services, category: str) -> DatasetVersion:
    """Give the present content of a category its data-set version: the number that it has, or the next one.

    Raises:
        Refused: the category has no images.
        Fault: the ledger cannot be written.
    """
    manifest = scan(services.workspace, category)
    return services.ledger.record_dataset(
        category,
        sha256=manifest.sha256,
        normals=len(manifest.normals),
        evaluation_images=len(manifest.evaluation),
        pointers=services.versioning.pointer_texts(category),
        git_commit=services.versioning.head(),
        who=who(),
        images=members(manifest),
    )


def members(manifest: Manifest) -> list[Member]:
    """Return the images of a data set as the ledger lists them."""
    normals = [Member(entry.path, entry.sha256, "train") for entry in manifest.normals]
    return normals + [Member(entry.path, entry.sha256, f"test/{entry.label}") for entry in manifest.evaluation]


def note_arrivals(services: Services, category: str, *, rebuild: bool = False) -> bool:
    """Write down which normal images came since the last time, and return whether there is anything to write.

    Args:
        services: the opened workspace.
        category: whose images.
        rebuild: forget in which order they came, so that the next bank is built from nothing.

    Raises:
        Refused: the record is damaged, or an image cannot be read.
    """
    workspace = services.workspace
    present = [entry.sha256 for entry in normal_images(workspace, category)]
    if not present:  # of a clone without its data: a later `dvc pull` brings the images
        return False
    return record_arrivals(workspace.arrivals(category), present, services.params, anew=rebuild)


def commit_images(services: Services, category: str) -> str | None:
    """Commit the pointers of a category's images and their order of arrival, with a message that says what came.

    Does nothing where params.yaml says not to commit.

    Raises:
        Refused: git declines, or the category has no images.
    """
    if not services.params.versioning.commit:
        return None
    workspace = services.workspace
    manifest = scan(workspace, category)
    committed = _committed_normals(services, category)
    present = {entry.sha256 for entry in manifest.normals}
    message = ingest_message(
        category,
        version=services.ledger.number_for(category, manifest.sha256),
        normals=len(present),
        new=[Path(entry.path).name for entry in manifest.normals if entry.sha256 not in committed],
        gone=len(committed - present),
        quarantined=[f"{Path(each['source']).name} ({each['reason']})" for each in unrecorded(services, category)],
    )
    return services.versioning.commit([workspace.arrivals(category), *workspace.pointers(category)], message)


def ingest_message(
    category: str, *, version: int, normals: int, new: Sequence[str], gone: int, quarantined: Sequence[str]
) -> str:
    """Return the message of the git commit of a data-set version: a line, and the first names of what came."""
    came = _images(len(new), "new ") if new else _images(normals, "")
    subject = f"{'Ingest' if new else 'Track the images of'} {category}: {came} (data-set version {version})"
    subject += f", {gone} gone" if gone else ""
    subject += f", {len(quarantined)} in quarantine" if quarantined else ""
    lists = (("New", new), ("In quarantine", quarantined))
    return "\n\n".join([subject, *(f"{title}:\n{_first(names)}" for title, names in lists if names)])


def commit_reports(services: Services, category: str) -> str | None:
    """Commit what `dvc repro` wrote for git to keep, with the parameters and pointers that it was made from.

    Does nothing where params.yaml says not to commit.
    """
    workspace = services.workspace
    if not services.params.versioning.commit:
        return None
    data = [workspace.arrivals(category), *workspace.pointers(category)]
    made_from = [workspace.params, workspace.pipeline, *data]
    paths = [*made_from, workspace.lock_file, workspace.reports(category)]
    return services.versioning.commit(paths, f"Build the bank of {category}")


def register(services: Services, category: str, *, tags: Mapping[str, str]) -> Registered:
    """Register the bank that stands in the workspace; one that is known already keeps its version.

    Args:
        services: the opened workspace.
        category: whose bank.
        tags: more tags for the run and the version, such as the flow run's id.

    Raises:
        Fault: the registry does not answer, or the ledger cannot be written.
    """
    workspace = services.workspace
    manifest = read_manifest(workspace.manifest(category))
    dataset = services.ledger.dataset_of(category, manifest.sha256) or record_dataset(services, category)
    build = _build(services, category, dataset, tags)
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
    return Registered(bank, build.metrics, new=known is None)


def _build(services: Services, category: str, dataset: DatasetVersion, tags: Mapping[str, str]) -> BankBuild:
    workspace = services.workspace
    results = workspace.evaluation_results(category)
    report = read_json(workspace.metrics(category))
    return BankBuild(
        bank=workspace.bank(category),
        bank_sha256=report["bank_sha256"],
        run_name=f"{category} data-set version {dataset.number}",
        params=flat_params(services.params),
        metrics=metrics_of(report) | _covering(services, category),
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


def _committed_normals(services: Services, category: str) -> set[str]:
    """Return the sha256 of the normal images that the last commit knows; of its file, which people may edit."""
    text = services.versioning.committed_text(services.workspace.arrivals(category))
    try:
        return {str(sha256) for group in json.loads(text or "{}").get("groups", ()) for sha256 in group}
    except (ValueError, TypeError, AttributeError):
        return set()


def _images(count: int, kind: str) -> str:
    return f"1 {kind}normal image" if count == 1 else f"{count} {kind}normal images"


def _first(names: Sequence[str]) -> str:
    shown = [" ".join(name.split()) for name in names[:_NAMES_SHOWN]]
    return "\n".join(shown + ([f"and {len(names) - len(shown)} more"] if len(names) > len(shown) else []))


def flat_params(params: Params) -> dict[str, object]:
    """Return params.yaml as nested values, by the names that the file uses."""
    return params.model_dump(mode="json", by_alias=True)


def _covering(services: Services, category: str) -> dict[str, float | None]:
    built = read_json(services.workspace.build_metrics(category))
    coreset = built["coreset"]
    return {
        "threshold": built["threshold"]["value"],
        "bank_rows": coreset["rows"],
        "covering_radius": coreset["radius"],
        **{name: coreset[name] for name in ("arrivals", "rows_added", "rows_merged")},
    }
