"""The memory bank: patch features of normal images, which score how much another image differs from them.

Letters: M bank rows, D features, B images, h w grid of patches, H W pixels of an image, n calibration images.
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
    """A memory bank that scores images. Several threads may use one bank at the same time.

    Attributes:
        folder: The folder that the bank was loaded from.
        config: The content of bank.json: how the bank was built, and with which extractor.
        arrays: The rows, float32 (M, D), with their sources, covering radii and the calibration scores.
        images: The path and sha256 of each normal image that the rows come from.
        sha256: The sha256 of bank.json. It identifies the bank, because bank.json has the digests of the other files.

    Example:
        >>> bank = MemoryBank.load(Path("tests/data/frozen_bank_2"), runtime="torch")
        >>> scores = bank.score([np.full((300, 300, 3), 128, dtype=np.uint8)])
        >>> scores.image.shape, scores.maps.shape  # an image score, and a score for each patch
        ((1,), (1, 8, 8))
        >>> bank.anomaly_maps(scores).shape  # a score for each pixel of the image, resized to a square
        (1, 64, 64)
        >>> bool(bank.anomalous(scores.image)[0]) == bool(scores.image[0] > bank.threshold)
        True
    """

    def __init__(
        self,
        folder: Path,
        config: BankConfig,
        arrays: BankArrays,
        images: Sequence[Mapping[str, str]],
        open_extractor: Callable[[], Extractor],
    ) -> None:
        """Make a bank of its parts; use `load` to read one from a folder."""
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
        """Load a bank and check every digest and shape; each file is read once.

        The backbone is loaded when it is first needed; see `prepare`.

        Args:
            folder: A folder that `save` wrote.
            weights: A file with the backbone's weights, or a folder of such files, to search besides the installed
                packages and torchvision's cache.
            runtime: ``"torch"`` or ``"openvino"``. None: the runtime that built the bank; if it is not installed, the
                other one, if both gave the same results when the bank was built.
            precision: ``"float32"`` or ``"bfloat16"``. None: the precision that built the bank.
            cache: A folder for converted networks; None: `patchcore.extraction.runtimes.base.default_cache`.

        Returns:
            The bank.

        Raises:
            InvalidBank: A file is missing or damaged, or has a format that this version cannot read.
            RuntimeNotAllowed: The runtime or precision is not the bank's own, and was not measured to agree with it; or
                it is not installed.
        """
        config, arrays, images = read(folder)
        at_work = extractor_at_work(config.extractor, config.parity, runtime, precision)
        return cls(folder, config, arrays, images, partial(extractor_of, at_work, weights, cache))

    @property
    def threshold(self) -> float:
        """The largest image score that is still normal: an image with a higher score is anomalous."""
        return self.config.threshold.value

    @cached_property
    def extractor(self) -> Extractor:
        """The feature extractor: the one that built the bank, or one that was measured to agree with it.

        Raises:
            InvalidWeights: The weights that the bank was built with are not available.
        """
        return self._open_extractor()

    @cached_property
    def _index(self) -> NearestNeighbours:
        return NearestNeighbours(self.arrays.rows)

    def prepare(self) -> None:
        """Load the backbone and build the search index now instead of when the first image is scored.

        Raises:
            InvalidWeights: The weights that the bank was built with are not available.
        """
        with self._loading:
            _ = self.extractor.network, self._index

    def score(self, images: Sequence[Image]) -> Scores:
        """Score images. A score does not depend on the other images that are scored with it.

        Up to ``config.extractor.batch_size`` images are scored in the calling thread, more of them in several threads.

        Args:
            images: At least one image, uint8 (H, W, 3) each: red, green and blue from 0 to 255, of any size. Each is
                resized to a square; the aspect ratio is not kept.

        Returns:
            The scores of the B images, in their order. Higher is more anomalous.

        Raises:
            InvalidWeights: The weights that the bank was built with are not available.
            ValueError: There is no image, or an image has another shape or dtype.
        """
        self.prepare()
        if len(images) <= self.config.extractor.batch_size:
            return self._score_batch(images)
        return scoring.join(list(self.score_stream(images)))

    def score_stream(self, images: Iterable[Image]) -> Generator[Scores, None, None]:
        """Score any number of images in memory that does not grow with their number, in several threads.

        Args:
            images: Images as `score` takes them. They are taken from the iterable as they are needed.

        Yields:
            The scores of ``config.extractor.batch_size`` images at a time, in their order; the last may have fewer.

        Raises:
            InvalidWeights: The weights that the bank was built with are not available.
            ValueError: An image has another shape or dtype.

        Example:
            >>> bank = MemoryBank.load(Path("tests/data/frozen_bank_2"), runtime="torch")
            >>> images = (np.full((96, 96, 3), level, dtype=np.uint8) for level in range(10))
            >>> sum(len(scores.image) for scores in bank.score_stream(images))
            10
        """
        self.prepare()
        yield from in_order(self._score_batch, _batches(images, self.config.extractor.batch_size))

    def _score_batch(self, images: Sequence[Image]) -> Scores:
        side = self.config.extractor.image_size
        return self.score_features(self.extractor.network(np.stack([to_square(image, side) for image in images])))

    def score_features(self, features: NDArray[np.float32]) -> Scores:
        """Score images by their patch features.

        Args:
            features: float32 (B, h, w, D), from this bank's extractor.

        Returns:
            The scores of the B images. Higher is more anomalous.

        Raises:
            ValueError: The shape does not fit the bank.
        """
        return scoring.score(features, self.arrays.rows, self._index, neighbours=self.config.scoring.neighbours)

    def anomaly_maps(self, scores: Scores) -> NDArray[np.float32]:
        """Return a score for each pixel of scored images: the patch scores, upsampled and smoothed.

        Args:
            scores: The scores of B images.

        Returns:
            float32 (B, S, S), where S is the side in pixels of the square that images are resized to. Higher is more
            anomalous, in the unit of the patch scores.
        """
        config = self.config
        return scoring.anomaly_maps(scores.maps, config.extractor.image_size, sigma=config.scoring.smoothing_sigma)

    def p_values(self, scores: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the conformal p-value of each image score.

        Args:
            scores: float32 (B,), image scores of this bank.

        Returns:
            float64 (B,), from 1 / (n + 1) to 1. Lower is more anomalous. Unlike scores, p-values are comparable between
            banks.
        """
        return calibration.p_values(scores, self.arrays.calibration)

    def anomalous(self, scores: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Return which image scores are above the threshold.

        Args:
            scores: float32 (B,), image scores of this bank.

        Returns:
            bool (B,).
        """
        return np.asarray(scores > np.float32(self.threshold))


def _batches(images: Iterable[Image], size: int) -> Generator[list[Image], None, None]:
    remaining = iter(images)
    while batch := list(islice(remaining, size)):
        yield batch
