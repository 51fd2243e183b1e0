"""Greedy k-centre selection of the rows of a memory bank: all at once, or grown as images arrive.

Example:
>>> import numpy as np
>>> from patchcore.coreset import select
>>> patches = np.array([[0.0], [1.0], [10.0], [4.0]], dtype=np.float32)  # (N, D)
>>> select(patches, 2, seed=0).indices.tolist()
[3, 2]
"""

from typing import TYPE_CHECKING

from patchcore._util.lazy import lazy_attributes

if TYPE_CHECKING:
    from patchcore.coreset.kcenter import Coreset, select

__all__ = ["Coreset", "select"]

__getattr__ = lazy_attributes(
    __name__,
    {
        "Coreset": "patchcore.coreset.kcenter",
        "select": "patchcore.coreset.kcenter",
    },
)
