"""Compiling the loops of the search. Importing this module imports numba."""

from typing import Any

from numba import njit


def compiled(function: Any) -> Any:
    """Compile a function when it is first called, and keep the result for later processes where there is a place."""
    try:
        return njit(nogil=True, error_model="numpy", cache=True)(function)
    except RuntimeError:  # neither this folder nor the user's cache can be written to
        return njit(nogil=True, error_model="numpy")(function)
