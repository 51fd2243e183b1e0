"""The precisions that this machine can compute in."""

import logging
from functools import lru_cache

from patchcore.extraction.runtimes.base import Precision, RuntimeName, importable

_log = logging.getLogger(__name__)


def resolve_precision(runtime: RuntimeName, asked: Precision) -> Precision:
    """Return the precision to use: the one asked for, or float32, with a warning, if this CPU cannot compute in it.

    The returned precision is part of the extractor's identity, so results of the two never mix.
    """
    if computes(runtime, asked):
        return asked
    _log.warning("this CPU has no bfloat16 instructions for %s: float32 is used instead of %s", runtime, asked)
    return "float32"


@lru_cache
def computes(runtime: RuntimeName, precision: Precision) -> bool:
    """Return whether a runtime is installed and has the instructions for a precision on this CPU."""
    if precision == "float32":
        return True
    if not importable(runtime):
        return False
    if runtime == "openvino":
        from patchcore.extraction.runtimes.openvino import has_bfloat16
    else:
        from patchcore.extraction.runtimes.torch import has_bfloat16
    return has_bfloat16()
