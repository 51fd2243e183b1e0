"""What a machine keeps so as not to work it out again: arrays in a file that is believed only as long as it is whole.

    64 hexadecimal digits, the sha256 of the rest, then the bytes of a safetensors file

Nothing here is ever needed: a file that is missing or damaged, or that other code wrote, is as good as none.
"""

import hashlib
import importlib.metadata
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import patchcore
from patchcore.files import write_bytes

_DIGITS = 64


def read_arrays(path: Path) -> dict[str, NDArray[Any]] | None:
    """Return the arrays of a file; None where it is missing or damaged."""
    from safetensors.numpy import load

    try:
        content = path.read_bytes()
    except OSError:
        return None
    digest, arrays = content[:_DIGITS], content[_DIGITS:]
    return load(arrays) if hashlib.sha256(arrays).hexdigest().encode() == digest else None


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays in one step."""
    from safetensors.numpy import save

    content = save({name: np.ascontiguousarray(array) for name, array in arrays.items()})
    write_bytes(path, hashlib.sha256(content).hexdigest().encode() + content)


@cache
def code_digest() -> str:
    """Return the sha256 of the library's modules below the steps, and of what they compute with."""
    releases = [f"{name} {importlib.metadata.version(name)}" for name in ("numpy", "numba", "pillow")]
    digest = hashlib.sha256("\n".join(releases).encode())
    for file in sorted(Path(patchcore.__file__).parent.glob("*.py")):
        digest.update(file.name.encode() + file.read_bytes())
    return digest.hexdigest()
