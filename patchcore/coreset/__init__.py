"""Greedy k-centre selection: the rows of a memory bank, from nothing or grown."""

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
