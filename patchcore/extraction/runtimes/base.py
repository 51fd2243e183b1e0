"""The protocol of a runtime, and which runtimes are installed.

A runtime computes the patch features of a batch of a fixed size on one thread; batches run in parallel. Its name,
release and precision are part of an extractor's identity, because results differ in the last bits.
"""

import importlib.util
from importlib.metadata import version
from pathlib import Path
from typing import Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

RuntimeName = Literal["torch", "openvino"]
Precision = Literal["float32", "bfloat16"]

_RUNTIMES: tuple[RuntimeName, ...] = get_args(RuntimeName)


class Runtime(Protocol):
    """A network that is ready to run. Several threads may call it at once."""

    def __call__(self, images: NDArray[np.uint8], /) -> NDArray[np.float32]:
        """Return the patch features of a batch, computed on one thread.

        Args:
            images: uint8 (B, S, S, 3), red, green, blue, 0 to 255; the runtime was made for these B and S.

        Returns:
            float32 (B, h, w, D), contiguous, owned by the caller.
        """
        ...


def importable(runtime: RuntimeName) -> bool:
    """Return whether a runtime is installed, without importing it, which takes seconds."""
    return importlib.util.find_spec(runtime) is not None


def resolve_runtime(asked: Literal["auto", "torch", "openvino"]) -> RuntimeName:
    """Return the runtime that params.yaml names; ``auto`` is OpenVINO if it is installed, else torch."""
    if asked != "auto":
        return asked
    return "openvino" if importable("openvino") else "torch"


def release_of(runtime: RuntimeName) -> str:
    """Return the installed release of a runtime.

    Raises:
        PackageNotFoundError: it is not installed.
    """
    return version(runtime)


def other_runtime(runtime: RuntimeName) -> RuntimeName:
    """Return the other runtime, which a runtime is compared with."""
    return _RUNTIMES[1 - _RUNTIMES.index(runtime)]


def default_cache() -> Path:
    """Return the folder that caches converted networks: PATCHCORE_CACHE, else one in the user's cache folder."""
    from patchcore.config.settings import read_settings

    settings = read_settings()
    return settings.cache or (settings.xdg_cache_home or Path.home() / ".cache") / "patchcore"
