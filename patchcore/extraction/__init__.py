"""From pixels to patch features: a pretrained backbone, its weights, and the runtime that computes it.

An extractor is described by the ``extract`` block of params.yaml, whose defaults name a backbone with packaged weights:

    >>> from patchcore.config.params import ExtractParams
    >>> from patchcore.extraction import open_extractor
    >>> extractor = open_extractor(ExtractParams(image_size=64))
    >>> extractor.config.backbone, extractor.config.layers
    ('efficientnet_lite0', ('blocks.2', 'blocks.4'))

Then ``extractor.network(images)`` turns uint8 (B, S, S, 3) into float32 (B, h, w, D).
"""

from typing import TYPE_CHECKING

from patchcore._util.lazy import lazy_attributes

if TYPE_CHECKING:
    from patchcore.extraction.batching import FeatureExtractor
    from patchcore.extraction.extractor import Extractor, ExtractorConfig, open_extractor
    from patchcore.extraction.store import FeatureStore

__all__ = ["Extractor", "ExtractorConfig", "FeatureExtractor", "FeatureStore", "open_extractor"]

__getattr__ = lazy_attributes(
    __name__,
    {
        "Extractor": "patchcore.extraction.extractor",
        "ExtractorConfig": "patchcore.extraction.extractor",
        "FeatureExtractor": "patchcore.extraction.batching",
        "FeatureStore": "patchcore.extraction.store",
        "open_extractor": "patchcore.extraction.extractor",
    },
)
