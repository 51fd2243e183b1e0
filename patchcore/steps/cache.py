"""Cached arrays in a file: one that is missing, damaged or written by other code is computed again.

64 hexadecimal digits, the sha256 of the rest, then the bytes of a safetensors file
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchcore._util.files import write_bytes

_DIGITS = 64


def read_arrays(path: Path) -> dict[str, NDArray[Any]] | None:
    """Return the arrays of a file; None if it is missing or damaged."""
    from safetensors.numpy import load

    try:
        content = path.read_bytes()
    except OSError:
        return None
    digest, arrays = content[:_DIGITS], content[_DIGITS:]
    return load(arrays) if hashlib.sha256(arrays).hexdigest().encode() == digest else None


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays in one step, so that no reader sees a part of the file."""
    from safetensors.numpy import save

    content = save({name: np.ascontiguousarray(array) for name, array in arrays.items()})
    write_bytes(path, hashlib.sha256(content).hexdigest().encode() + content)
