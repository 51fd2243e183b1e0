"""How long a bank takes from its folder to its first score, in a fresh process. Run: python benchmarks/startup.py.

Cold: neither the converted network nor the compiled search is in a cache yet. Warm: both are. The file system's cache
is warm in both. Imports are counted on their own: our modules, and what the runtime brings; what is imported later
counts as scoring.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.banks import make_banks
from benchmarks.common import Table, alone, params, solar_cells, squares

_SCRIPT = Path(__file__).with_name("first_score.py")
_OURS = ("patchcore.bank.memory_bank", "patchcore.search.kernels", "scipy.ndimage")
_IMPORTS = {"openvino": (*_OURS, "openvino"), "torch": (*_OURS, "torch", "timm")}
_PARTS = ("imports", "load", "first", "second")


def main() -> None:
    """Print the table."""
    options = _options()
    table = Table(
        f"From a bank's folder to its first score and map, 1 % of {options.normals} images, seconds",
        *("runtime", "cache", "imports", "load", "first score", "load and first score", "target", "second score"),
        "imported late",
    )
    for runtime in options.runtimes:
        with tempfile.TemporaryDirectory() as name:
            extract = params(runtime=runtime).extract
            (bank,) = make_banks(
                Path(name), solar_cells("poly")[: options.normals], extract, ratios=[0.01], projection=None
            )
            np.save(Path(name, "image.npy"), squares(solar_cells("poly", defective=True)[:1])[0])
            for cache in ("cold", "warm"):
                done = [
                    _first_score(bank, Path(name, f"cache{number if cache == 'cold' else 0}"), _IMPORTS[runtime])
                    for number in range(options.rounds)
                ]
                imports, load, first, second = (statistics.median(one[part] for one in done) for part in _PARTS)
                late = " ".join(done[0]["late"])
                table.add(runtime, cache, imports, load, first, load + first, "at most 1", second, late)
    table.show()


def _first_score(bank: Path, cache: Path, imports: tuple[str, ...]) -> dict[str, Any]:
    image, environment = bank.parent / "image.npy", {**os.environ, "NUMBA_CACHE_DIR": str(cache)}
    arguments = {"bank": str(bank), "image": str(image), "cache": str(cache), "imports": imports}
    with alone():
        command = [sys.executable, str(_SCRIPT), json.dumps(arguments)]
        done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    seconds: dict[str, Any] = json.loads(done.stdout)
    return seconds


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--normals", type=int, default=300, help="images that the bank remembers")
    parser.add_argument("--runtimes", nargs="+", default=["openvino", "torch"])
    return parser.parse_args()


if __name__ == "__main__":
    main()
