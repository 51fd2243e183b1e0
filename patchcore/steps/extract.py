"""manifest -> features: extract the patch features of every image of a category that has none yet."""

from patchcore._util.files import write_json
from patchcore._util.progress import progress
from patchcore.config.params import Params
from patchcore.config.workspace import Workspace
from patchcore.dataset.manifest import read_manifest
from patchcore.extraction.extractor import open_extractor
from patchcore.extraction.store import FeatureStore
from patchcore.steps.feature_digests import digests_of


def run(workspace: Workspace, category: str, params: Params) -> None:
    """Fill the feature store and write the index of digests that the later stages depend on.

    Raises:
        InvalidWeights: The weights are missing, or are not those expected.
        Refused: The backbone has no such layer.
        UnreadableImage: An image cannot be read.
    """
    manifest = read_manifest(workspace.manifest(category))
    extractor = open_extractor(params.extract, workspace.root, keep=workspace.weights, cache=workspace.runtime_cache)
    store = FeatureStore(workspace.feature_store, extractor, params.extract.store)
    images = {sha256: workspace.root / path for sha256, path in manifest.paths().items()}
    with progress(f"extract {category}", len(store.missing(images))) as advance:
        store.ensure(images, advance)
    digests = workspace.feature_digests(category, extractor.fingerprint)
    index = {
        "extractor": extractor.config.model_dump(mode="json"),
        "fingerprint": extractor.fingerprint,
        "features": digests_of(digests, store, images),
    }
    write_json(workspace.features_index(category), index)
