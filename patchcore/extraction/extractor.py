"""An extractor and its identity: backbone, digest of the weights, preprocessing, runtime and precision."""

import hashlib
from importlib.metadata import version
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from patchcore._util.files import canonical_json
from patchcore.config.params import ExtractParams
from patchcore.errors import InvalidParams, RuntimeMissing
from patchcore.extraction.batching import REVISION, FeatureExtractor
from patchcore.extraction.runtimes.base import (
    Precision,
    Runtime,
    RuntimeName,
    default_cache,
    importable,
    release_of,
    resolve_runtime,
)
from patchcore.extraction.runtimes.precision import resolve_precision
from patchcore.extraction.weights import Weights, find_weights, keep_weights, load_state, weights_of

if TYPE_CHECKING:
    import torch


class ExtractorConfig(BaseModel):
    """The identity of an extractor, as bank.json has it. Features are comparable only if all of it is equal.

    Attributes:
        backbone: a key of `patchcore.extraction.batching.BACKBONES`.
        weights_sha256: the sha256 of the weights' file, 64 hexadecimal digits.
        layers: the names of the layers, shallow to deep.
        image_size: S, the side that images are resized to, in pixels.
        pool: the side of the neighbourhood that is averaged, in patches.
        batch_size: the number of images in one call of the network.
        runtime: torch or openvino.
        runtime_version: the release of the runtime.
        precision: float32 or bfloat16.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    backbone: str
    weights_sha256: str
    layers: tuple[str, ...]
    image_size: int
    pool: int
    batch_size: int
    runtime: RuntimeName
    runtime_version: str
    precision: Precision


class Extractor:
    """An extractor: its configuration, and its network, which is loaded at first use."""

    def __init__(self, config: ExtractorConfig, weights: Weights, cache: Path | None = None) -> None:
        """Take the configuration, the weights that it names, and the folder that caches converted networks.

        Without a folder, `patchcore.extraction.runtimes.base.default_cache` is used.
        """
        self.config = config
        self._cache = cache
        self._weights = weights
        self._network: FeatureExtractor | None = None
        self._loading = Lock()

    @property
    def fingerprint(self) -> str:
        """The sha256 of all that can change a bit of a feature, with the installed releases, 64 hexadecimal digits."""
        at_work = {"runtime_version": release_of(self.config.runtime), "torch": version("torch"), "revision": REVISION}
        return hashlib.sha256(canonical_json({**self.config.model_dump(mode="json"), **at_work})).hexdigest()

    def on(self, runtime: RuntimeName, precision: Precision) -> "Extractor":
        """Return the same extractor on another runtime or in another precision."""
        changed = {"runtime": runtime, "runtime_version": release_of(runtime), "precision": precision}
        return Extractor(self.config.model_copy(update=changed), self._weights, self._cache)

    @property
    def at_work(self) -> str:
        """The runtime, its installed release and the precision, for people."""
        runtime = self.config.runtime
        return f"{runtime} {release_of(runtime)} {self.config.precision}"

    @property
    def network(self) -> FeatureExtractor:
        """The network, loaded at first use. Several threads may use it.

        Raises:
            InvalidWeights: the weights do not fit.
            InvalidParams: the backbone has no such layer.
        """
        with self._loading:
            if self._network is None:
                config = self.config
                self._network = FeatureExtractor(
                    self._runtime(), image_size=config.image_size, batch_size=config.batch_size
                )
            return self._network

    def _runtime(self) -> Runtime:
        config = self.config
        if config.runtime == "torch":
            from patchcore.extraction.runtimes.torch import TorchRuntime

            return TorchRuntime(self._patch_network(), config.precision)
        from patchcore.extraction.runtimes.openvino import OpenVinoRuntime, convert
        from patchcore.extraction.runtimes.openvino_cache import cached_graph

        side = config.image_size
        shape = (config.batch_size, side, side, 3)
        graph = cached_graph(
            self._cache or default_cache(), self.fingerprint, lambda: convert(self._patch_network(), shape)
        )
        return OpenVinoRuntime(graph, config.precision)

    def _patch_network(self) -> "torch.nn.Module":
        from patchcore.extraction.network import patch_network

        config = self.config
        try:
            return patch_network(config.backbone, load_state(self._weights), layers=config.layers, pool=config.pool)
        except ValueError as error:
            raise InvalidParams(
                f"no extractor from {config.backbone}",
                got=str(error),
                expected="layers that it has",
                remedy="change extract.layers in params.yaml",
            ) from error


def open_extractor(
    params: ExtractParams, root: Path | None = None, keep: Path | None = None, cache: Path | None = None
) -> Extractor:
    """Return the extractor that the ``extract`` block of params.yaml describes.

    Args:
        params: the block of params.yaml.
        root: the folder that a relative path of weights starts from; None: the current folder.
        keep: the folder that keeps a copy of weights that params.yaml names, for banks built with them; None: no copy.
        cache: the folder of converted networks; None: `patchcore.extraction.runtimes.base.default_cache`.

    Raises:
        InvalidWeights: the weights are missing, or have another digest.
        RuntimeMissing: the named runtime is not installed.
    """
    named = (root or Path()) / params.weights if params.weights else None
    weights = find_weights(params.backbone, named, params.weights_sha256)
    if keep:
        keep_weights(weights, keep)
    runtime = resolve_runtime(params.runtime)
    if not importable(runtime):
        raise RuntimeMissing(
            f"the runtime {runtime} is not installed",
            got=f"no package {runtime}",
            expected="the package",
            remedy=f"pip install {runtime}, or set extract.runtime to auto in params.yaml",
        )
    config = ExtractorConfig(
        backbone=params.backbone,
        weights_sha256=weights.sha256,
        layers=params.layers,
        image_size=params.image_size,
        pool=params.pool,
        batch_size=params.batch_size,
        runtime=runtime,
        runtime_version=release_of(runtime),
        precision=resolve_precision(runtime, params.precision),
    )
    return Extractor(config, weights, cache)


def extractor_of(config: ExtractorConfig, weights: Path | None = None, cache: Path | None = None) -> Extractor:
    """Return the extractor that a bank was built with.

    Args:
        config: as the bank keeps it.
        weights: a file, or a folder of kept weights, to search besides packages and torchvision's cache.
        cache: the folder of converted networks; None: `patchcore.extraction.runtimes.base.default_cache`.

    Raises:
        InvalidWeights: no file has the digest of the bank's weights.
    """
    return Extractor(config, weights_of(config.backbone, config.weights_sha256, weights), cache)
