"""Which precision this machine can compute in."""

import logging
from functools import lru_cache

from patchcore.extraction.runtimes.base import Precision, RuntimeName, importable

_log = logging.getLogger(__name__)


def resolve_precision(runtime: RuntimeName, asked: Precision) -> Precision:
    """Return the precision that this machine can compute in; where it is another than asked for, a warning says so.

    The answer, not the question, is what an extractor is known by: results of the two never mix.
    """
    if computes(runtime, asked):
        return asked
    _log.warning("this CPU has no bfloat16 instructions for %s: float32 is used instead of %s", runtime, asked)
    return "float32"


@lru_cache
def computes(runtime: RuntimeName, precision: Precision) -> bool:
    """Say whether an installed runtime has the instructions for a precision on this CPU."""
    if precision == "float32":
        return True
    if not importable(runtime):
        return False
    if runtime == "openvino":
        from patchcore.extraction.runtimes.openvino import has_bfloat16
    else:
        from patchcore.extraction.runtimes.torch import has_bfloat16
    return has_bfloat16()
