"""How fast a PatchCore bank scores, compared with FastFlow on the same backbone. Run: python benchmarks/fastflow.py.

wide_resnet50_2 with random weights on both sides, so this is about speed alone; decoded images (uint8, 224 px), batches
of 8. Our bank has 1 % of the patches of 300 images. FastFlow's maps come out of its network; ours are counted too.
"""

import argparse
import hashlib
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.banks import make_banks
from benchmarks.bare import bare_sides
from benchmarks.common import Peer, Table, interleaved, params, solar_cells, squares, stopwatch
from patchcore.bank.memory_bank import MemoryBank
from patchcore.config.params import ExtractParams

_PEER = {"torch": ("torch",), "openvino": ("OpenVINO latency", "OpenVINO throughput")}


def main() -> None:
    """Print the tables."""
    options = _options()
    normals, scored = solar_cells("poly")[: options.normals], solar_cells("poly", defective=True)[: options.images]
    images = squares(scored)
    with tempfile.TemporaryDirectory() as folder, Peer(Path(__file__).with_name("anomalib_models.py")) as peer:
        extract = {runtime: _random_backbone(Path(folder), runtime) for runtime in options.runtimes}
        sides: dict[str, Callable[[], float]] = {}
        for runtime, block in extract.items():
            (bank,) = make_banks(Path(folder), normals, block, ratios=[0.01], projection=128)
            loaded = MemoryBank.load(bank, weights=block.weights)
            sides[f"ours, {runtime}"] = stopwatch(partial(_score_and_map, loaded, list(images)))
        np.save(Path(folder, "images.npy"), images)
        peer.call("load", images=str(Path(folder, "images.npy")))
        peer.call("fastflow", name="FastFlow", backbone="wide_resnet50_2", side=224, batch=8)
        for runtime in (name for names in _PEER.values() for name in names):
            sides[f"FastFlow, {runtime}"] = partial(peer.call, "run", scorer=f"FastFlow {runtime}", batch=8)
        _show(interleaved({**sides, **bare_sides(block, images, 8)}, options.rounds), len(images), options.runtimes)


def _random_backbone(folder: Path, runtime: str) -> ExtractParams:
    """Return parameters that name a file of random weights: no other setting accepts such a backbone."""
    import torch
    import torchvision

    torch.manual_seed(0)
    path = folder / "random.pth"
    torch.save(torchvision.models.get_model("wide_resnet50_2", weights=None).state_dict(), path)
    return params(
        runtime=runtime,
        backbone="wide_resnet50_2",
        layers=("layer2", "layer3"),
        weights=path,
        weights_sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
    ).extract


def _score_and_map(bank: MemoryBank, images: Sequence[np.ndarray]) -> None:
    bank.anomaly_maps(bank.score(images))


def _show(taken: Mapping[str, float], images: int, runtimes: Sequence[str]) -> None:
    table = Table("FastFlow and PatchCore, decoded images, wide_resnet50_2 with random weights", "what", "images/s")
    for name, seconds in taken.items():
        table.add(name, images / seconds)
    table.show()
    table = Table("FastFlow and PatchCore, ratios of throughput", "ours", "against", "ratio", "target")
    bare = min(seconds for name, seconds in taken.items() if name.startswith("bare"))
    for runtime in runtimes:
        best = min(taken[f"FastFlow, {name}"] for name in _PEER[runtime])
        table.add(runtime, f"FastFlow {runtime}", best / taken[f"ours, {runtime}"], "at least 3.5")
        table.add(runtime, "bare backbone, the best", bare / taken[f"ours, {runtime}"], "")
    table.show()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=32, help="images scored in a round")
    parser.add_argument("--normals", type=int, default=300, help="images that our bank remembers")
    parser.add_argument("--runtimes", nargs="+", default=["openvino", "torch"])
    return parser.parse_args()


if __name__ == "__main__":
    main()
