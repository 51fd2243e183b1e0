"""Questions about the past, each by the name of its command, answered as values that a table or JSON shows.

The ledger alone answers them; a bank is read only for what stands nowhere else, and only where this machine has it.
"""

from patchcore.lifecycle.audit.banks import bank, compare
from patchcore.lifecycle.audit.batches import batch
from patchcore.lifecycle.audit.completeness import completeness
from patchcore.lifecycle.audit.datasets import dataset, normal
from patchcore.lifecycle.audit.images import image
from patchcore.lifecycle.audit.promotions import at, history

__all__ = ["at", "bank", "batch", "compare", "completeness", "dataset", "history", "image", "normal"]
