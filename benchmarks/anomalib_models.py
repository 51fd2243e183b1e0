"""anomalib's PatchCore and FastFlow, in the peers' environment: run by `Peer`, never by hand.

They get the best that anomalib offers: static shapes, inference mode, no lightning around them, no post-processing,
images of the right size; OpenVINO in float32, for latency and with one stream per core; the faster one counts.
"""

import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import openvino  # type: ignore[import-not-found, import-untyped, unused-ignore]
import torch
from anomalib.models import Fastflow, Patchcore  # type: ignore[import-not-found, unused-ignore]
from anomalib.pre_processing import PreProcessor  # type: ignore[import-not-found, unused-ignore]
from numpy.typing import NDArray
from torchvision.transforms.v2 import Compose, Normalize, Resize
from torchvision.transforms.v2.functional import to_dtype, to_image

from benchmarks.peers import serve

Scored = tuple[NDArray[np.float32], NDArray[np.float32]]  # (B,) scores and (B, 1, S, S) maps
Pixels = NDArray[np.float32]  # (B, 3, S, S) from 0 to 1
Scorer = Callable[[Iterable[Pixels]], list[Scored]]
_scorers: dict[str, Scorer] = {}
_images: list[NDArray[np.uint8]] = []


def patchcore(
    name: str,
    backbone: str,
    layers: Sequence[str],
    state: str | None,
    rows: str,
    mean: Sequence[float],
    deviation: Sequence[float],
    side: int,
    batch: int,
) -> None:
    """Make the scorers ``name torch`` and ``name OpenVINO`` around a bank's rows.

    Args:
        name: what the scorers are called.
        backbone: its name in timm.
        layers: of the backbone.
        state: a file of its weights (safetensors); None for random ones.
        rows: a file of the memory bank (.npy).
        mean: of the images, one value per channel, from 0 to 1.
        deviation: the same.
        side: pixels of the square images.
        batch: images per batch.
    """
    from safetensors.torch import load_file

    model = Patchcore(
        backbone=backbone,
        layers=layers,
        pre_trained=False,
        num_neighbors=1,  # as ours: no re-weighting
        pre_processor=PreProcessor(Compose([Resize((side, side), antialias=True), Normalize(mean, deviation)])),
        post_processor=False,
        evaluator=False,
        visualizer=False,
    )
    if state:
        network = model.model.feature_extractor.feature_extractor
        missing, _ = network.load_state_dict(load_file(state), strict=False)  # the head is not part of it
        if missing:
            raise ValueError(f"state: got no {missing[0]}, expected every tensor of {backbone}")
    model.model.memory_bank = torch.from_numpy(np.load(rows))
    _add(name, model, side, batch)


def fastflow(name: str, backbone: str, side: int, batch: int) -> None:
    """Make the scorers ``name torch`` and ``name OpenVINO`` of FastFlow with random weights."""
    torch.manual_seed(0)
    model = Fastflow(
        backbone=backbone,
        pre_trained=False,
        pre_processor=PreProcessor(Compose([Resize((side, side), antialias=True), Normalize([0.5] * 3, [0.25] * 3)])),
        post_processor=False,
        evaluator=False,
        visualizer=False,
    )
    _add(name, model, side, batch)


def load(images: str) -> None:
    """Take decoded images, a file of uint8 (B, S, S, 3)."""
    _images[:] = list(np.load(images))


def run(scorer: str, batch: int) -> float:
    """Score all images, one batch after the other, and return the seconds."""
    started = time.perf_counter()
    _scorers[scorer](_floats(_images[at : at + batch]) for at in range(0, len(_images), batch))
    return time.perf_counter() - started


def run_files(scorer: str, paths: Sequence[str], side: int, batch: int) -> float:
    """Read, resize and score image files, and return the seconds."""
    started = time.perf_counter()
    _scorers[scorer](_decoded(paths[at : at + batch], side) for at in range(0, len(paths), batch))
    return time.perf_counter() - started


def scores(scorer: str, batch: int) -> list[float]:
    """Return the score of every image."""
    parts = _scorers[scorer](_floats(_images[at : at + batch]) for at in range(0, len(_images), batch))
    return [float(score) for part, _ in parts for score in part.ravel()]


def versions() -> dict[str, str]:
    """Return the versions of what is compared."""
    from importlib.metadata import version

    return {name: version(name) for name in ("anomalib", "torch", "openvino")}


def _add(name: str, model: Any, side: int, batch: int) -> None:
    model.eval()

    def in_torch(batches: Iterable[Pixels]) -> list[Scored]:
        with torch.inference_mode():
            found = (model(torch.from_numpy(pixels)) for pixels in batches)
            return [(part.pred_score.numpy(), part.anomaly_map.numpy()) for part in found]

    _scorers[f"{name} torch"] = in_torch
    with tempfile.TemporaryDirectory() as folder:
        # Its export for any batch size still fixes the example's size in one place, so the size is given.
        static = {"dynamic_axes": None, "dynamic_shapes": ({0: batch},), "opset_version": 18}
        exported = openvino.Core().read_model(model.to_openvino(folder, input_size=(side, side), onnx_kwargs=static))
        for hint in ("LATENCY", "THROUGHPUT"):
            _scorers[f"{name} OpenVINO {hint.lower()}"] = _in_openvino(exported, hint)


def _in_openvino(exported: Any, hint: str) -> Scorer:
    """Return a scorer that keeps as many batches in progress as OpenVINO recommends for the hint."""
    settings = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": hint}
    queue = openvino.AsyncInferQueue(openvino.Core().compile_model(exported, "CPU", settings))
    found: dict[int, Scored] = {}

    def keep(request: Any, number: int) -> None:
        outputs = (request.get_tensor(output).data.copy() for output in ("pred_score", "anomaly_map"))
        found[number] = (next(outputs), next(outputs))

    queue.set_callback(keep)

    def score(batches: Iterable[Pixels]) -> list[Scored]:
        found.clear()
        for number, pixels in enumerate(batches):
            queue.start_async(pixels, userdata=number)
        queue.wait_all()
        return [found[number] for number in sorted(found)]

    return score


def _floats(images: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
    return np.ascontiguousarray(np.stack(images).transpose(0, 3, 1, 2)).astype(np.float32) / np.float32(255)


def _decoded(paths: Sequence[str], side: int) -> NDArray[np.float32]:
    """Return pictures, float32 (B, 3, S, S) from 0 to 1, read as anomalib reads them: Pillow, then Resize."""
    from PIL import Image

    def images() -> Iterator[torch.Tensor]:
        resize = Resize((side, side), antialias=True)
        for path in paths:
            with Image.open(Path(path)) as image:
                yield resize(to_dtype(to_image(image.convert("RGB")), torch.float32, scale=True))

    return torch.stack(list(images())).numpy()


if __name__ == "__main__":
    serve({function.__name__: function for function in (patchcore, fastflow, load, run, run_files, scores, versions)})
