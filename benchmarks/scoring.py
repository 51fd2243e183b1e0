"""How fast a bank scores images, compared with anomalib and the bare backbone. Run: python benchmarks/scoring.py.

Decoded normal images (uint8, 224 px), batches of 8, EfficientNet-Lite0 with the same ImageNet weights on both sides,
the same rows in both memory banks, image scores and smoothed maps on both sides. Ours also on defective images:
their patches are far from every row, so that a search by lower bounds has more to do.
"""

import argparse
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.banks import make_banks
from benchmarks.bare import bare_sides
from benchmarks.common import Peer, Table, interleaved, params, solar_cells, squares, stopwatch
from patchcore.bank.memory_bank import MemoryBank
from patchcore.extraction.batching import BACKBONES
from patchcore.extraction.weights import find_weights, load_state
from patchcore.images.decoding import load_rgb

_BATCH = 8  # images, of the peer and of the bare backbone; ours are cut as params.yaml says
_RATIOS = {"1 %": 0.01, "10 %": 0.1}
_PEER = {"torch": ("torch",), "OpenVINO": ("OpenVINO latency", "OpenVINO throughput")}

Banks = Mapping[tuple[str, str], MemoryBank]  # runtime, ratio -> bank
Sides = dict[str, Callable[[], float]]


def main() -> None:
    """Print the tables."""
    options = _options()
    cells = solar_cells(options.kind)
    normals, scored = cells[: options.normals], cells[-options.images :]
    images, defective = squares(scored), squares(solar_cells(options.kind, defective=True)[: options.images])
    with tempfile.TemporaryDirectory() as name, Peer(Path(__file__).with_name("anomalib_models.py")) as peer:
        banks = _banks(Path(name), normals, options.runtimes)
        _fill(peer, Path(name), banks, images)
        _show_agreement(peer, banks, images)
        taken = interleaved(
            {**_ours(banks, images, defective), **_peers(peer), **bare_sides(params().extract, images, _BATCH)},
            options.rounds,
        )
        _show(taken, len(images))
        _show_ratios(taken, options.runtimes)
        _show_files(interleaved(_with_files(peer, banks, scored), options.rounds), len(scored))


def _banks(folder: Path, normals: Sequence[Path], runtimes: Sequence[str]) -> Banks:
    banks: dict[tuple[str, str], MemoryBank] = {}
    for runtime in runtimes:
        extract = params(runtime=runtime).extract
        made = make_banks(folder, normals, extract, ratios=[*_RATIOS.values()], projection=None)
        banks |= {(runtime, ratio): MemoryBank.load(bank) for ratio, bank in zip(_RATIOS, made, strict=True)}
    return banks


def _fill(peer: Peer, folder: Path, banks: Banks, images: NDArray[np.uint8]) -> None:
    """Give the peer our weights, our rows and the images."""
    from safetensors.torch import save_file

    extract = params().extract
    backbone = BACKBONES[extract.backbone]
    state = load_state(find_weights(extract.backbone))
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, folder / "state.safetensors")
    np.save(folder / "images.npy", images)
    peer.call("load", images=str(folder / "images.npy"))
    for ratio in _RATIOS:
        rows = next(bank for (_, of_ratio), bank in banks.items() if of_ratio == ratio).arrays.rows
        np.save(folder / "rows.npy", rows)
        peer.call(
            "patchcore",
            name=ratio,
            backbone=backbone.architecture,
            layers=extract.layers,
            state=str(folder / "state.safetensors"),
            rows=str(folder / "rows.npy"),
            mean=backbone.mean,
            deviation=backbone.deviation,
            side=extract.image_size,
            batch=_BATCH,
        )


def _ours(banks: Banks, images: NDArray[np.uint8], defective: NDArray[np.uint8]) -> Sides:
    decoded = list(images)
    sides: Sides = {}
    for (runtime, ratio), bank in banks.items():
        sides[f"ours, {runtime}, {ratio}"] = stopwatch(partial(_score_and_map, bank, decoded))
        sides[f"ours, {runtime}, {ratio}, scores alone"] = stopwatch(partial(bank.score, decoded))
        sides[f"ours, {runtime}, {ratio}, defective"] = stopwatch(partial(_score_and_map, bank, list(defective)))
    return sides


def _score_and_map(bank: MemoryBank, images: Sequence[NDArray[np.uint8]]) -> None:
    bank.anomaly_maps(bank.score(images))


def _peers(peer: Peer) -> Sides:
    return {
        f"anomalib, {runtime}, {ratio}": partial(peer.call, "run", scorer=f"{ratio} {runtime}", batch=_BATCH)
        for runtime in chain.from_iterable(_PEER.values())
        for ratio in _RATIOS
    }


def _with_files(peer: Peer, banks: Banks, paths: Sequence[Path]) -> Sides:
    """Return sides that decode and resize the files too, 1 % of rows."""
    extract = params().extract
    arguments = {"paths": [str(path) for path in paths], "side": extract.image_size, "batch": _BATCH}
    sides: Sides = {
        f"anomalib, {runtime}": partial(peer.call, "run_files", scorer=f"1 % {runtime}", **arguments)
        for runtime in chain.from_iterable(_PEER.values())
    }
    for (runtime, ratio), bank in banks.items():
        if ratio == "1 %":
            sides[f"ours, {runtime}"] = stopwatch(partial(_score_files, bank, paths))
    return sides


def _score_files(bank: MemoryBank, paths: Sequence[Path]) -> None:
    side = bank.config.extractor.image_size
    _score_and_map(bank, [load_rgb(path, side) for path in paths])


def _show(taken: Mapping[str, float], images: int) -> None:
    table = Table("Scoring, decoded images, batches of 8, EfficientNet-Lite0", "what", "images/s")
    for name, seconds in taken.items():
        table.add(name, images / seconds)
    table.show()


def _show_ratios(taken: Mapping[str, float], runtimes: Sequence[str]) -> None:
    bare = min(seconds for name, seconds in taken.items() if name.startswith("bare backbone"))
    (small_bare,) = (seconds for name, seconds in taken.items() if name.startswith("bare in batches"))
    table = Table("Scoring, ratios of throughput", "ours", "against", "ratio", "target")
    for runtime in runtimes:
        small, large = (taken[f"ours, {runtime}, {ratio}"] for ratio in _RATIOS)
        for of_peer, target in (("torch", "at least 5"), ("OpenVINO", "at least 2.5")):
            for ratio, seconds in zip(_RATIOS, (small, large), strict=True):
                best = min(taken[f"anomalib, {name}, {ratio}"] for name in _PEER[of_peer])
                table.add(f"{runtime}, {ratio}", f"anomalib {of_peer}, {ratio}", best / seconds, target)
        alone = taken[f"ours, {runtime}, 1 %, scores alone"]
        table.add(f"{runtime}, 1 %", "bare backbone, the best of batch 8", bare / small, "at least 0.75")
        table.add(f"{runtime}, 1 %, scores alone", "bare backbone, the best of batch 8", bare / alone, "at least 0.75")
        table.add(f"{runtime}, 1 %", "bare backbone in our batches", small_bare / small, "")
        table.add(f"{runtime}, time of the 10 % bank", f"{runtime}, time of the 1 % bank", large / small, "at most 1.5")
        small, large = (taken[f"ours, {runtime}, {ratio}, defective"] for ratio in _RATIOS)
        table.add(f"{runtime}, 10 %, defective images", f"{runtime}, 1 %, the same images", large / small, "")
    table.show()


def _show_files(taken: Mapping[str, float], images: int) -> None:
    table = Table("Scoring PNG files of 300x300 pixels, 1 %: decoded and resized too", "what", "images/s")
    for name, seconds in taken.items():
        table.add(name, images / seconds)
    table.show()


def _show_agreement(peer: Peer, banks: Banks, images: NDArray[np.uint8]) -> None:
    """Show that both sides do the same work: their image scores agree."""
    table = Table("Image scores of anomalib and ours", "bank", "largest difference, relative")
    theirs = np.array(peer.call("scores", scorer="1 % torch", batch=_BATCH))
    for (runtime, ratio), bank in banks.items():
        if ratio == "1 %":
            table.add(f"{runtime}, {ratio}", float(np.abs(bank.score(list(images)).image / theirs - 1).max()))
    table.show()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=64, help="images scored in a round")
    parser.add_argument("--normals", type=int, default=300, help="images that the banks remember")
    parser.add_argument("--kind", choices=["mono", "poly"], default="mono", help="of solar cells")
    parser.add_argument("--runtimes", nargs="+", default=["openvino", "torch"])
    return parser.parse_args()


if __name__ == "__main__":
    main()
