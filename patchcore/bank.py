"""The memory bank, and the file format that outlives the library that wrote it. docs/bank-format.md is its prose.

    <bank>/bank.json             what the bank is; canonical JSON; its sha256 is the bank's identity
    <bank>/arrays.safetensors    rows, where they come from, radii, calibration scores
    <bank>/images.json           the normal images that the rows come from, [{path, sha256}]

Letters: M bank rows, D features, B images, h w grid of patches, n calibration images.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from patchcore import calibration, scoring
from patchcore.errors import Refused
from patchcore.extractor import Extractor, ExtractorConfig, Runtime, extractor_of
from patchcore.files import canonical_json, new_folder, read_json, sha256_of
from patchcore.images import to_square
from patchcore.index import NearestNeighbours
from patchcore.parallel import in_order
from patchcore.scoring import Scores

FORMAT = 2
_READ = (1, 2)
CONFIG, ARRAYS, IMAGES = "bank.json", "arrays.safetensors", "images.json"


class _Block(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DatasetConfig(_Block):
    """The data-set version: the sha256 of its manifest, and how its normal images were used."""

    sha256: str
    normals: int
    calibration: int


class CoresetConfig(_Block):
    """How the rows were chosen, and the certificate of their cover: every patch lies within ``radius`` of a row.

    The images came in ``arrivals`` groups: the rows were selected from the first, ``rows_added`` of them from later
    ones, and ``rows_merged`` were given up again to stay within the budget.
    """

    ratio: float
    rows: int
    patches: int
    radius: float
    projection_dimension: int | None
    seed: int
    arrivals: int
    rows_added: int
    rows_merged: int


class ScoringConfig(_Block):
    """How distances become scores and maps."""

    neighbours: int
    smoothing_sigma: float


class ThresholdConfig(_Block):
    """Where normal ends, and what vouches for it."""

    value: float
    false_alarm_rate: float
    guaranteed_rate: float


class ParityConfig(_Block):
    """How far another runtime than the bank's own was from it on real images, and whether it may score instead."""

    runtime: Runtime
    runtime_version: str
    images: int
    feature_error: float
    score_error: float
    flips: int
    passed: bool


class BankConfig(_Block):
    """The whole of bank.json."""

    format: Literal[1, 2]
    library: str
    category: str
    dataset: DatasetConfig
    extractor: ExtractorConfig
    coreset: CoresetConfig
    scoring: ScoringConfig
    threshold: ThresholdConfig
    parity: ParityConfig | None
    files: dict[str, str]
    checksum: str  # of all the other fields: sha256 of their canonical JSON


@dataclass(frozen=True)
class BankArrays:
    """What a bank remembers.

    Attributes:
        rows: float32 (M, D), the coreset in pick order: every prefix is a coreset of its own.
        radii: float64 (M,), Euclidean covering radius after each pick.
        sources: int32 (M, 3), for each row the number of its image in images.json, and its grid row and column.
        calibration: float32 (n,), image scores of the held-out normal images.
    """

    rows: NDArray[np.float32]
    radii: NDArray[np.float64]
    sources: NDArray[np.int32]
    calibration: NDArray[np.float32]


class MemoryBank:
    """A memory bank that can score."""

    def __init__(
        self, folder: Path, config: BankConfig, arrays: BankArrays, images: Sequence[Mapping[str, str]]
    ) -> None:
        """Use `load`."""
        self.folder = folder
        self.config = config
        self.arrays = arrays
        self.images = images
        self.sha256 = sha256_of(folder / CONFIG)
        self._weights: Path | None = None

    @classmethod
    def load(cls, folder: Path, *, weights: Path | None = None) -> "MemoryBank":
        """Load a bank, every digest and shape checked. The backbone is loaded when it is first needed.

        Args:
            folder: as `save` wrote it.
            weights: a file with the backbone's weights, or a folder of kept ones, beside those of packages and of
                torchvision's cache.

        Raises:
            Refused: a file is missing or is not what bank.json says, or the format is not one that we know.
        """
        config = _read_config(folder)
        for name in (ARRAYS, IMAGES):
            _check_digest(folder / name, config.files.get(name, "no digest"))
        bank = cls(folder, config, _read_arrays(folder / ARRAYS, config), read_json(folder / IMAGES))
        bank._weights = weights
        return bank

    @property
    def threshold(self) -> float:
        """An image is anomalous when its score is larger than this."""
        return self.config.threshold.value

    @cached_property
    def extractor(self) -> Extractor:
        """The extractor that the bank was built with."""
        return extractor_of(self.config.extractor, self._weights)

    @cached_property
    def _index(self) -> NearestNeighbours:
        return NearestNeighbours(self.arrays.rows)

    def score(self, images: Sequence[NDArray[np.uint8]]) -> Scores:
        """Score images: uint8 (H, W, 3) each, red, green, blue, of any size. Higher is more anomalous."""
        network, side = self.extractor.network, self.config.extractor.image_size
        step = self.config.extractor.batch_size

        def extract(batch: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
            return network(np.stack([to_square(image, side) for image in batch]))

        batches = (images[start : start + step] for start in range(0, len(images), step))
        return scoring.join([self.score_features(features) for features in in_order(extract, batches)])

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


def save(folder: Path, arrays: BankArrays, images: Sequence[Mapping[str, str]], description: Mapping[str, Any]) -> str:
    """Write a bank in one step and return its sha256.

    Args:
        folder: where; an older bank there is replaced.
        arrays: what the bank remembers.
        images: {path, sha256} of the normal images that ``arrays.sources`` counts.
        description: the fields of `BankConfig`, without format, files and checksum.
    """
    from safetensors.numpy import save as safetensors_bytes

    contents = {
        ARRAYS: safetensors_bytes({name: np.ascontiguousarray(value) for name, value in vars(arrays).items()}),
        IMAGES: canonical_json([dict(image) for image in images]),
    }
    files = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    config = BankConfig.model_validate({**description, "format": FORMAT, "files": files, "checksum": ""})
    fields = config.model_dump(mode="json")
    contents[CONFIG] = canonical_json({**fields, "checksum": _checksum(fields)})
    with new_folder(folder) as temporary:
        for name, content in contents.items():
            (temporary / name).write_bytes(content)
    return hashlib.sha256(contents[CONFIG]).hexdigest()


def _read_config(folder: Path) -> BankConfig:
    path = folder / CONFIG
    try:
        content = path.read_bytes()
        raw = json.loads(content)
        canonical = canonical_json(raw)
    except (OSError, ValueError) as error:
        raise _damaged(path, str(error), "a bank's description") from error
    if not isinstance(raw, dict) or raw.get("format") not in _READ:
        got = raw.get("format") if isinstance(raw, dict) else type(raw).__name__
        raise _damaged(path, f"format {got}", f"format {' or '.join(map(str, _READ))}")
    # The bytes are compared too: the bank's identity is computed from them, not from the values.
    if raw.get("checksum") != _checksum(raw) or content != canonical:
        raise _damaged(path, f"checksum {raw.get('checksum')}", f"canonical JSON of checksum {_checksum(raw)}")
    try:
        return BankConfig.model_validate(_as_latest(raw))
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        raise _damaged(path, f"{field}: {first['msg']}", "every field of its format") from error


def _as_latest(raw: dict[str, Any]) -> dict[str, Any]:
    """Fill in what format 1 did not have: its banks are one selection, and no other runtime was compared."""
    if raw["format"] != 1 or not isinstance(raw.get("coreset"), dict):
        return raw
    coreset = {"arrivals": 1, "rows_added": 0, "rows_merged": 0, **raw["coreset"]}
    return {"parity": None, **raw, "coreset": coreset}


def _checksum(fields: Mapping[str, Any]) -> str:
    others = {name: value for name, value in fields.items() if name != "checksum"}
    return hashlib.sha256(canonical_json(others)).hexdigest()


def _check_digest(path: Path, expected: str) -> None:
    if not path.is_file():
        raise _damaged(path, "no such file", f"sha256 {expected}")
    if (actual := sha256_of(path)) != expected:
        raise _damaged(path, f"sha256 {actual}", f"sha256 {expected}")


def _read_arrays(path: Path, config: BankConfig) -> BankArrays:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        arrays = BankArrays(**load_file(path))
    except (SafetensorError, TypeError) as error:
        raise _damaged(path, str(error), "rows, radii, sources and calibration") from error
    _check_shapes(path, arrays, config)
    return arrays


def _check_shapes(path: Path, arrays: BankArrays, config: BankConfig) -> None:
    rows, depth = config.coreset.rows, arrays.rows.shape[-1:]  # M, (D,)
    expected = {
        "rows": ("float32", (rows, *depth)),
        "radii": ("float64", (rows,)),
        "sources": ("int32", (rows, 3)),
        "calibration": ("float32", (config.dataset.calibration,)),
    }
    for name, (dtype, shape) in expected.items():
        array = getattr(arrays, name)
        if (str(array.dtype), array.shape) != (dtype, shape):
            raise _damaged(path, f"{name} {array.dtype} {array.shape}", f"{dtype} {shape}")


def _damaged(path: Path, got: str, expected: str) -> Refused:
    return Refused(
        f"the bank file {path} is not what it should be", got, expected, "fetch the bank again from the registry"
    )
