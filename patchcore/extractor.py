"""An extractor with all that identifies it: the backbone, its weights' digest, and how images become patches."""

import hashlib
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from patchcore.errors import Refused
from patchcore.features import REVISION, FeatureExtractor
from patchcore.files import canonical_json
from patchcore.params import ExtractParams
from patchcore.weights import Weights, find_weights, keep_weights, load_state, weights_of


Runtime = Literal["torch", "openvino"]
Precision = Literal["float32", "bfloat16"]


class ExtractorConfig(BaseModel):
    """What two extractors must share for their features to be comparable, as a bank keeps it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    backbone: str
    weights_sha256: str
    layers: tuple[str, ...]
    image_size: int
    pool: int
    batch_size: int
    runtime: Runtime
    runtime_version: str
    precision: Precision


class Extractor:
    """A description of an extractor, and its network, which is loaded when it is first needed."""

    def __init__(self, config: ExtractorConfig, weights: Weights) -> None:
        """Take the description and the weights that it names."""
        self.config = config
        self._weights = weights

    @property
    def fingerprint(self) -> str:
        """The sha256 of all that can change a bit of a feature; the runtime is the one at work, not that of a bank."""
        described = {**self.config.model_dump(mode="json"), "runtime_version": version("torch"), "revision": REVISION}
        return hashlib.sha256(canonical_json(described)).hexdigest()

    @cached_property
    def network(self) -> FeatureExtractor:
        """The network.

        Raises:
            Refused: the weights do not fit, or the backbone has no such layer.
        """
        config = self.config
        try:
            return FeatureExtractor(
                config.backbone,
                load_state(self._weights),
                layers=config.layers,
                pool=config.pool,
                batch_size=config.batch_size,
            )
        except ValueError as error:
            raise Refused(
                f"no extractor from {config.backbone}",
                got=str(error),
                expected="layers that it has",
                remedy="change extract.layers in params.yaml",
            ) from error


def open_extractor(params: ExtractParams, root: Path | None = None, keep: Path | None = None) -> Extractor:
    """Return the extractor that params.yaml describes.

    Args:
        params: the block of params.yaml.
        root: what a relative path of weights is relative to; None: the current folder.
        keep: where to keep weights that are named in params.yaml, for the banks that are built with them.

    Raises:
        Refused: the weights are missing or wrong.
    """
    named = (root or Path()) / params.weights if params.weights else None
    weights = find_weights(params.backbone, named, params.weights_sha256)
    if keep:
        keep_weights(weights, keep)
    config = ExtractorConfig(
        backbone=params.backbone,
        weights_sha256=weights.sha256,
        layers=params.layers,
        image_size=params.image_size,
        pool=params.pool,
        batch_size=params.batch_size,
        runtime=params.runtime,
        runtime_version=version("torch"),
        precision=params.precision,
    )
    return Extractor(config, weights)


def extractor_of(config: ExtractorConfig, weights: Path | None = None) -> Extractor:
    """Return the extractor that a bank was built with.

    Args:
        config: as the bank keeps it.
        weights: a file, or a folder of kept weights, beside those of packages and of torchvision's cache.

    Raises:
        Refused: the weights of then are not to be had.
    """
    return Extractor(config, weights_of(config.backbone, config.weights_sha256, weights))
