"""The data-set version of a category in the ledger, and the order in which its normal images came."""

from patchcore.adapters.ledger.records import DatasetVersion, Member
from patchcore.dataset.arrivals import record_arrivals
from patchcore.dataset.manifest import Manifest, normal_images, scan
from patchcore.lifecycle.services import Services, who


def record_dataset(services: Services, category: str) -> DatasetVersion:
    """Give the present content of a category its data-set version: the number that it has, or the next one.

    Raises:
        Refused: the category has no images.
        Fault: the ledger cannot be written.
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
    present = [entry.sha256 for entry in normal_images(workspace, category, services.digests)]
    if not present:  # of a clone without its data: a later `dvc pull` brings the images
        return False
    return record_arrivals(workspace.arrivals(category), present, services.params, anew=rebuild)
