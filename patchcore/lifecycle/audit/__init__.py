"""Questions about the past, one function per command. Each returns a model of `patchcore.lifecycle.audit.results`.

The ledger answers them. A bank is read only for what the ledger does not hold, and only if it is on this machine.
"""

from patchcore.lifecycle.audit.banks import bank, compare
from patchcore.lifecycle.audit.batches import batch
from patchcore.lifecycle.audit.completeness import completeness
from patchcore.lifecycle.audit.datasets import dataset, normal
from patchcore.lifecycle.audit.images import image
from patchcore.lifecycle.audit.promotions import at, history

__all__ = ["at", "bank", "batch", "compare", "completeness", "dataset", "history", "image", "normal"]
