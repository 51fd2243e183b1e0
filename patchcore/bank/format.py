"""The file format of a memory bank, which outlives the library that wrote it.

docs/reference/bank-format.md describes it.
Formats are kept: from format 2 on, every later version of this library reads the banks of every earlier one, and
tests/data/frozen_bank_2 is a bank that they must all read. Format 1 was never released.

    <bank>/bank.json             what the bank is; canonical JSON; its sha256 is the bank's identity
    <bank>/arrays.safetensors    rows, where they come from, radii, calibration scores
    <bank>/images.json           the normal images that the rows come from, [{path, sha256}]

Letters: M bank rows, D features, n calibration images.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from patchcore._util.files import canonical_json, new_folder, read_json, sha256_of
from patchcore.errors import InvalidBank
from patchcore.extraction.extractor import ExtractorConfig
from patchcore.extraction.parity import ParityConfig

FORMAT = 2
CONFIG, ARRAYS, IMAGES = "bank.json", "arrays.safetensors", "images.json"


class _Block(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DatasetConfig(_Block):
    """The data-set version: the sha256 of its manifest, and the numbers of its normal and its calibration images."""

    sha256: str
    normals: int
    calibration: int


class CoresetConfig(_Block):
    """How the rows were chosen, and the certificate of their cover: every patch lies within ``radius`` of a row.

    The images came in ``arrivals`` groups: rows were selected from the first group, ``rows_added`` from later groups,
    and ``rows_merged`` rows were removed again to stay within the budget.
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
    """The score above which an image is anomalous, and the false-alarm rate that calibration guarantees."""

    value: float
    false_alarm_rate: float
    guaranteed_rate: float


class BankConfig(_Block):
    """The whole of bank.json."""

    format: Literal[2]
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
        rows: float32 (M, D), the coreset in pick order: a prefix is a coreset of the images that had arrived.
        radii: float64 (M,), Euclidean covering radius after each pick.
        sources: int32 (M, 3), for each row the number of its image in images.json, and its grid row and column.
        calibration: float32 (n,), image scores of the held-out normal images.
    """

    rows: NDArray[np.float32]
    radii: NDArray[np.float64]
    sources: NDArray[np.int32]
    calibration: NDArray[np.float32]


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


def read(folder: Path) -> tuple[BankConfig, BankArrays, list[dict[str, str]]]:
    """Read a bank; every digest and shape is checked.

    Returns:
        The whole of bank.json, the arrays, and {path, sha256} of the normal images that ``sources`` counts.

    Raises:
        InvalidBank: A file is missing or is not what bank.json says, or the format is not known.
    """
    config = _read_config(folder)
    for name in (ARRAYS, IMAGES):
        _check_digest(folder / name, config.files.get(name, "no digest"))
    return config, _read_arrays(folder / ARRAYS, config), read_json(folder / IMAGES)


def _read_config(folder: Path) -> BankConfig:
    path = folder / CONFIG
    try:
        content = path.read_bytes()
        raw = json.loads(content)
        canonical = canonical_json(raw)
    except (OSError, ValueError) as error:
        raise _damaged(path, str(error), "a bank's description") from error
    if not isinstance(raw, dict) or raw.get("format") != FORMAT:
        got = raw.get("format") if isinstance(raw, dict) else type(raw).__name__
        raise _damaged(path, f"format {got}", f"format {FORMAT}")
    # The bytes are compared too: the bank's identity is computed from them, not from the values.
    if raw.get("checksum") != _checksum(raw) or content != canonical:
        raise _damaged(path, f"checksum {raw.get('checksum')}", f"canonical JSON of checksum {_checksum(raw)}")
    try:
        return BankConfig.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        raise _damaged(path, f"{field}: {first['msg']}", "every field of its format") from error


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


def _damaged(path: Path, got: str, expected: str) -> InvalidBank:
    return InvalidBank(
        f"the bank file {path} is not what it should be", got, expected, "fetch the bank again from the registry"
    )
