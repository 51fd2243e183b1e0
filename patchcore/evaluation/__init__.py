"""How good a bank is, and whether it may go to production.

Metrics take raw scores, higher for more anomalous; the gate compares them with rules and with the bank in production:

    >>> from patchcore.evaluation import auroc
    >>> import numpy as np
    >>> auroc(np.float32([0.1, 0.4, 0.3, 0.9]), np.array([False, False, True, True]))
    0.75
"""

from typing import TYPE_CHECKING

from patchcore._util.lazy import lazy_attributes

if TYPE_CHECKING:
    from patchcore.evaluation.gate import Evaluation, Incumbent, Rules, Verdict, judge
    from patchcore.evaluation.metrics import (
        RocCurve,
        UndefinedMetric,
        aupro,
        auroc,
        average_precision,
        f1_max,
        roc_curve,
    )

__all__ = [
    "Evaluation",
    "Incumbent",
    "RocCurve",
    "Rules",
    "UndefinedMetric",
    "Verdict",
    "aupro",
    "auroc",
    "average_precision",
    "f1_max",
    "judge",
    "roc_curve",
]

__getattr__ = lazy_attributes(
    __name__,
    {
        "Evaluation": "patchcore.evaluation.gate",
        "Incumbent": "patchcore.evaluation.gate",
        "RocCurve": "patchcore.evaluation.metrics",
        "Rules": "patchcore.evaluation.gate",
        "UndefinedMetric": "patchcore.evaluation.metrics",
        "Verdict": "patchcore.evaluation.gate",
        "aupro": "patchcore.evaluation.metrics",
        "auroc": "patchcore.evaluation.metrics",
        "average_precision": "patchcore.evaluation.metrics",
        "f1_max": "patchcore.evaluation.metrics",
        "judge": "patchcore.evaluation.gate",
        "roc_curve": "patchcore.evaluation.metrics",
    },
)
