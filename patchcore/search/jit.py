"""Compiling the loops of the search. Importing this module imports numba."""

from typing import Any

from numba import njit


def compiled(function: Any) -> Any:
    """Compile a function at its first call, and cache the result for later processes if a folder can be written."""
    try:
        return njit(nogil=True, error_model="numpy", cache=True)(function)
    except RuntimeError:  # neither this folder nor the user's cache folder can be written
        return njit(nogil=True, error_model="numpy")(function)
