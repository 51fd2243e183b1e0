"""The guard between extract and its successors: features are used only when they are the ones of the index."""

from collections.abc import Sequence

from patchcore.errors import Fault
from patchcore.feature_store import FeatureStore
from patchcore.files import read_json
from patchcore.layout import Workspace


def require_indexed(workspace: Workspace, category: str, store: FeatureStore, digests: Sequence[str]) -> None:
    """Check that the store still holds, for each image, the bytes that the extract stage wrote down.

    Raises:
        Fault: features are missing or have changed since.
    """
    index = read_json(workspace.features_index(category))["features"]
    for sha256 in digests:
        if sha256 not in index or store.missing([sha256]) or store.digest(sha256) != index[sha256]:
            raise Fault(
                f"the features of image {sha256} are not those of {workspace.features_index(category)}",
                got="missing or changed features",
                expected="the features that the extract stage wrote down",
                remedy=f"run: dvc repro --force --single-item extract@{category}",
            )
