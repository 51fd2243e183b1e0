"""The memory bank: what a category's normal images look like, and how unlike them another image is.

Letters: M bank rows, D features, B images, h w grid of patches, n calibration images.
"""

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from functools import cached_property, partial
from itertools import islice
from pathlib import Path
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from patchcore._util.files import sha256_of
from patchcore._util.parallel import in_order
from patchcore.bank import calibration, scoring
from patchcore.bank.format import ARRAYS, CONFIG, IMAGES, BankArrays, BankConfig, read, save
from patchcore.bank.scoring import Scores
from patchcore.extraction.extractor import Extractor, extractor_of
from patchcore.extraction.parity import extractor_at_work
from patchcore.extraction.runtimes.base import Precision, RuntimeName
from patchcore.images.decoding import to_square
from patchcore.search.index import NearestNeighbours

__all__ = ["ARRAYS", "CONFIG", "IMAGES", "BankArrays", "BankConfig", "MemoryBank", "save"]

Image = NDArray[np.uint8]


class MemoryBank:
    """A memory bank that can score. Several threads may use it at once."""

    def __init__(
        self,
        folder: Path,
        config: BankConfig,
        arrays: BankArrays,
        images: Sequence[Mapping[str, str]],
        open_extractor: Callable[[], Extractor],
    ) -> None:
        """Use `load`."""
        self.folder = folder
        self.config = config
        self.arrays = arrays
        self.images = images
        self.sha256 = sha256_of(folder / CONFIG)
        self._open_extractor = open_extractor
        self._loading = Lock()

    @classmethod
    def load(
        cls,
        folder: Path,
        *,
        weights: Path | None = None,
        runtime: RuntimeName | None = None,
        precision: Precision | None = None,
        cache: Path | None = None,
    ) -> "MemoryBank":
        """Load a bank, every digest and shape checked. The backbone is loaded when it is first needed.

        Args:
            folder: as `save` wrote it.
            weights: a file with the backbone's weights, or a folder of kept ones, beside those of packages and of
                torchvision's cache.
            runtime: torch or openvino; None: the one that built the bank where this machine has it, else the one that
                was found to score as it does.
            precision: float32 or bfloat16; None: the same.
            cache: where converted networks are kept; None: `patchcore.extraction.runtimes.base.default_cache`.

        Raises:
            Refused: a file is missing or is not what bank.json says, or the format is not one that we know; or another
                runtime or precision than the bank's own would score, and the two were not found to agree.
        """
        config, arrays, images = read(folder)
        at_work = extractor_at_work(config.extractor, config.parity, runtime, precision)
        return cls(folder, config, arrays, images, partial(extractor_of, at_work, weights, cache))

    @property
    def threshold(self) -> float:
        """An image is anomalous when its score is larger than this."""
        return self.config.threshold.value

    @cached_property
    def extractor(self) -> Extractor:
        """The extractor at work: that which the bank was built with, or one that was found to score as it does.

        Raises:
            Refused: the weights of then are not to be had.
        """
        return self._open_extractor()

    @cached_property
    def _index(self) -> NearestNeighbours:
        return NearestNeighbours(self.arrays.rows)

    def prepare(self) -> None:
        """Load the backbone and build the index now, rather than when the first image is scored.

        Raises:
            Refused: the weights of then are not to be had.
        """
        with self._loading:
            _ = self.extractor.network, self._index

    def score(self, images: Sequence[Image]) -> Scores:
        """Score images. At most a batch of them is scored in the calling thread, more of them side by side.

        Args:
            images: uint8 (H, W, 3) each, red, green, blue, of any size; at least one.

        Returns:
            The scores in the order of the images; higher is more anomalous.

        Raises:
            Refused: the weights of then are not to be had.
        """
        self.prepare()
        if len(images) <= self.config.extractor.batch_size:
            return self._score_batch(images)
        return scoring.join(list(self.score_stream(images)))

    def score_stream(self, images: Iterable[Image]) -> Generator[Scores, None, None]:
        """Score any number of images in memory that does not grow with it; see `score`.

        Yields:
            The scores of one batch of ``config.extractor.batch_size`` images after the other; the last may be smaller.
        """
        self.prepare()
        yield from in_order(self._score_batch, _batches(images, self.config.extractor.batch_size))

    def _score_batch(self, images: Sequence[Image]) -> Scores:
        side = self.config.extractor.image_size
        return self.score_features(self.extractor.network(np.stack([to_square(image, side) for image in images])))

    def score_features(self, features: NDArray[np.float32]) -> Scores:
        """Score images by their patch features, float32 (B, h, w, D) of this bank's extractor."""
        return scoring.score(features, self.arrays.rows, self._index, neighbours=self.config.scoring.neighbours)

    def anomaly_maps(self, scores: Scores) -> NDArray[np.float32]:
        """Return the smoothed maps of scored images, float32 (B, S, S), S the side that images are resized to."""
        config = self.config
        return scoring.anomaly_maps(scores.maps, config.extractor.image_size, sigma=config.scoring.smoothing_sigma)

    def p_values(self, scores: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the conformal p-value of each image score (B,)."""
        return calibration.p_values(scores, self.arrays.calibration)

    def anomalous(self, scores: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Say which image scores (B,) lie above the threshold."""
        return np.asarray(scores > np.float32(self.threshold))


def _batches(images: Iterable[Image], size: int) -> Generator[list[Image], None, None]:
    remaining = iter(images)
    while batch := list(islice(remaining, size)):
        yield batch
