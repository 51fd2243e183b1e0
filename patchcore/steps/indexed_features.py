"""The guard between extract and its successors: features are used only when they are the ones of the index."""

from collections.abc import Sequence

from patchcore.errors import Fault
from patchcore.feature_store import FeatureStore
from patchcore.files import read_json
from patchcore.layout import Workspace
from patchcore.manifest import EvaluationEntry, ImageEntry
from patchcore.progress import progress


def require_indexed(
    workspace: Workspace, category: str, store: FeatureStore, images: Sequence[ImageEntry | EvaluationEntry]
) -> None:
    """See to it that the store holds, for each image, the bytes that the extract stage wrote down.

    What is missing, because somebody cleaned the store up, is extracted again.

    Raises:
        Fault: features have changed since.
        UnreadableImage: an image that has to be extracted again cannot be read.
    """
    files = {entry.sha256: workspace.root / entry.path for entry in images}
    if missing := store.missing(files):
        with progress(f"extract {category} again", len(missing)) as advance:
            store.ensure(files, advance)
    index = read_json(workspace.features_index(category))["features"]
    for sha256 in files:
        if index.get(sha256) != store.digest(sha256):
            raise Fault(
                f"the features of image {sha256} are not those of {workspace.features_index(category)}",
                got="other bytes",
                expected="the features that the extract stage wrote down",
                remedy=f"run: dvc repro --force --single-item extract@{category}",
            )
