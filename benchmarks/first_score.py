"""Load a bank and score one image, in a process that has done nothing else; run by startup.py.

Prints the seconds of each part as JSON. Only the standard library is imported before the clock starts.
"""

import importlib
import json
import sys
import time
from pathlib import Path

_HEAVY = ("torch", "timm", "openvino", "numba", "faiss", "scipy")


def main(bank: str, image: str, cache: str, imports: list[str]) -> dict[str, object]:
    """Return the seconds of imports, load, first and second score, and the heavy modules that were loaded late.

    Args:
        bank: its folder.
        image: a file of a decoded picture (.npy).
        cache: where converted networks are kept.
        imports: what is imported before the bank is loaded.
    """
    marks = [time.perf_counter()]

    def mark() -> float:
        marks.append(time.perf_counter())
        return marks[-1] - marks[-2]

    for module in imports:
        importlib.import_module(module)
    seconds = {"imports": mark()}
    import numpy as np

    from patchcore.bank.memory_bank import MemoryBank

    pixels = np.load(image)
    before = {module for module in _HEAVY if module in sys.modules}
    mark()
    loaded = MemoryBank.load(Path(bank), cache=Path(cache))
    seconds["load"] = mark()
    for name in ("first", "second"):
        loaded.anomaly_maps(loaded.score([pixels]))
        seconds[name] = mark()
    return {**seconds, "late": [module for module in _HEAVY if module in sys.modules and module not in before]}


if __name__ == "__main__":
    print(json.dumps(main(**json.loads(sys.argv[1]))))
