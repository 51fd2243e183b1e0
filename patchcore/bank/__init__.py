"""The memory bank: the model, its file format, its scores and its threshold."""

from typing import TYPE_CHECKING

from patchcore._util.lazy import lazy_attributes

if TYPE_CHECKING:
    from patchcore.bank.memory_bank import MemoryBank
    from patchcore.bank.scoring import Scores

__all__ = ["MemoryBank", "Scores"]

__getattr__ = lazy_attributes(
    __name__,
    {
        "MemoryBank": "patchcore.bank.memory_bank",
        "Scores": "patchcore.bank.scoring",
    },
)
