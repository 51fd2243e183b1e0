"""The data-set version of a category in the ledger, and the order in which its normal images arrived."""

from patchcore.adapters.ledger.records import DatasetVersion, Member
from patchcore.dataset.arrivals import record_arrivals
from patchcore.dataset.manifest import Manifest, normal_images, scan
from patchcore.lifecycle.services import Services, who


def record_dataset(services: Services, category: str) -> DatasetVersion:
    """Record the present content of a category as a data-set version; known content keeps its number.

    Raises:
        NoImages: The category has no images.
        LedgerUnavailable: The ledger cannot be written.
    """
    manifest = scan(services.workspace, category, services.digests)
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
    """Return the images of a data-set version as the ledger lists them."""
    normals = [Member(entry.path, entry.sha256, "train") for entry in manifest.normals]
    return normals + [Member(entry.path, entry.sha256, f"test/{entry.label}") for entry in manifest.evaluation]


def note_arrivals(services: Services, category: str, *, rebuild: bool = False) -> bool:
    """Record which normal images arrived since the last time, and return whether the record changed.

    Args:
        services: The opened workspace.
        category: The category.
        rebuild: Forget the order of arrival, so that the next bank is built from nothing.

    Raises:
        DataMissing: The record is damaged.
        UnreadableImage: An image cannot be read.
    """
    workspace = services.workspace
    present = [entry.sha256 for entry in normal_images(workspace, category, services.digests)]
    if not present:  # a clone without its data: `dvc pull` brings the images later
        return False
    return record_arrivals(workspace.arrivals(category), present, services.params, anew=rebuild)
