"""PatchCore for industrial visual inspection: memory banks, their evaluation, and proof of what they scored.

A memory bank is a coreset of the patch features of normal images. A patch is anomalous where it is far from every row:

    >>> import numpy as np
    >>> import patchcore
    >>> patches = np.random.default_rng(0).normal(size=(2000, 16)).astype(np.float32)  # (N, D)
    >>> coreset = patchcore.select(patches, 200, seed=0)
    >>> coreset.indices.shape, coreset.radii.shape
    ((200,), (200,))
    >>> search = patchcore.NearestNeighbours(patches[coreset.indices])
    >>> normal, _ = search.search(patches)  # every patch lies within the last radius of a row
    >>> bool(normal.max() <= coreset.radii[-1] * 1.000001)
    True
    >>> shifted, _ = search.search(patches + np.float32(3))
    >>> labels = np.repeat([False, True], 2000)
    >>> patchcore.auroc(np.concatenate([normal, shifted]).ravel(), labels) > 0.99
    True

Score images with a bank that ``patchcore retrain`` built (``work/CATEGORY/bank``) or that a registry keeps::

    bank = patchcore.MemoryBank.load(Path("bank"))
    scores = bank.score([image])  # each image uint8 (H, W, 3), red, green, blue
    if bank.anomalous(scores.image)[0]:
        print(scores.image[0], "lies above the threshold", bank.threshold)

Decide whether a bank is good enough with `judge`, and check an exported ledger with `verify_export`. Errors that are
meant for a person are subclasses of `PatchcoreError`; see `patchcore.errors`.

Importing this package imports no other library: each name imports what it needs when it is first used.
"""

from typing import TYPE_CHECKING

from patchcore._util.lazy import lazy_attributes
from patchcore.errors import Fault, PatchcoreError, Refused, UsageError

if TYPE_CHECKING:
    from patchcore import bank, coreset, evaluation, evidence, extraction, images, search
    from patchcore.bank.memory_bank import MemoryBank
    from patchcore.bank.scoring import Scores
    from patchcore.coreset.kcenter import Coreset, select
    from patchcore.evaluation.gate import Evaluation, Incumbent, Rules, Verdict, judge
    from patchcore.evaluation.metrics import (
        UndefinedMetric,
        aupro,
        auroc,
        average_precision,
        f1_max,
        roc_curve,
    )
    from patchcore.evidence.anchors import Anchor
    from patchcore.evidence.export_verification import verify_export
    from patchcore.evidence.findings import Verification
    from patchcore.search.index import NearestNeighbours

__version__ = "0.2.0"

__all__ = [
    "Anchor",
    "Coreset",
    "Evaluation",
    "Fault",
    "Incumbent",
    "MemoryBank",
    "NearestNeighbours",
    "PatchcoreError",
    "Refused",
    "Rules",
    "Scores",
    "UndefinedMetric",
    "UsageError",
    "Verdict",
    "Verification",
    "__version__",
    "aupro",
    "auroc",
    "average_precision",
    "bank",
    "coreset",
    "evaluation",
    "evidence",
    "extraction",
    "f1_max",
    "images",
    "judge",
    "roc_curve",
    "search",
    "select",
    "verify_export",
]

__getattr__ = lazy_attributes(
    __name__,
    {
        "Anchor": "patchcore.evidence.anchors",
        "Coreset": "patchcore.coreset.kcenter",
        "Evaluation": "patchcore.evaluation.gate",
        "Incumbent": "patchcore.evaluation.gate",
        "MemoryBank": "patchcore.bank.memory_bank",
        "NearestNeighbours": "patchcore.search.index",
        "Rules": "patchcore.evaluation.gate",
        "Scores": "patchcore.bank.scoring",
        "UndefinedMetric": "patchcore.evaluation.metrics",
        "Verdict": "patchcore.evaluation.gate",
        "Verification": "patchcore.evidence.findings",
        "aupro": "patchcore.evaluation.metrics",
        "auroc": "patchcore.evaluation.metrics",
        "average_precision": "patchcore.evaluation.metrics",
        "f1_max": "patchcore.evaluation.metrics",
        "judge": "patchcore.evaluation.gate",
        "roc_curve": "patchcore.evaluation.metrics",
        "select": "patchcore.coreset.kcenter",
        "verify_export": "patchcore.evidence.export_verification",
    },
    packages=("bank", "coreset", "evaluation", "evidence", "extraction", "images", "search"),
)


def __dir__() -> list[str]:
    return __all__
