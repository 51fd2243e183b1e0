"""The bare backbone, the upper limit of scoring: the network cut at the last layer that PatchCore reads, alone."""

import copy
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.common import stopwatch
from patchcore.config.params import ExtractParams
from patchcore.extraction.batching import create_network
from patchcore.extraction.weights import find_weights, load_state

Pixels = NDArray[np.float32]  # (B, 3, S, S), normalised


def bare_sides(params: ExtractParams, images: NDArray[np.uint8], batch: int) -> dict[str, Callable[[], float]]:
    """Return sides for `interleaved` that run the images, uint8 (B, S, S, 3), through the bare backbone.

    OpenVINO in float32 in both shapes that two cores allow, torch in its default layout and with channels last;
    ``batch`` images at a time. OpenVINO also in our own batches, which are faster.
    """
    network = _Cut(params)
    pixels = np.ascontiguousarray(images.transpose(0, 3, 1, 2)).astype(np.float32) / np.float32(255) - np.float32(0.5)
    batches = [pixels[at : at + batch] for at in range(0, len(pixels), batch)]
    ours = [pixels[at : at + params.batch_size] for at in range(0, len(pixels), params.batch_size)]
    sides = {
        "bare backbone, torch": _in_torch(network, torch.contiguous_format, batches),
        "bare backbone, torch channels last": _in_torch(network, torch.channels_last, batches),
    }
    for streams in (1, 2):
        sides[f"bare backbone, OpenVINO, {streams} x {2 // streams} threads"] = _in_openvino(network, streams, batches)
    sides[f"bare in batches of {params.batch_size}, OpenVINO, 2 x 1 threads"] = _in_openvino(network, 2, ours)
    return {name: stopwatch(side) for name, side in sides.items()}


class _Cut(torch.nn.Module):
    """The network up to the last layer, with one output."""

    def __init__(self, params: ExtractParams) -> None:
        from timm.models import create_feature_extractor

        super().__init__()
        network = create_network(params.backbone)
        network.load_state_dict(load_state(find_weights(params.backbone, params.weights, params.weights_sha256)))
        self.network: torch.nn.Module = create_feature_extractor(network.eval(), {params.layers[-1]: "out"})
        self.eval()

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.network(pixels)["out"]
        return out


def _in_torch(network: torch.nn.Module, memory: torch.memory_format, batches: list[Pixels]) -> Callable[[], None]:
    own = copy.deepcopy(network).to(memory_format=memory).eval()  # a copied graph module is in training mode

    def run() -> None:
        with torch.inference_mode():
            for batch in batches:
                own(torch.from_numpy(batch).contiguous(memory_format=memory))

    return run


def _in_openvino(network: torch.nn.Module, streams: int, batches: list[Pixels]) -> Callable[[], None]:
    import openvino  # type: ignore[import-untyped, unused-ignore]

    converted = openvino.convert_model(network, example_input=torch.from_numpy(batches[0]), input=[batches[0].shape])
    settings = {
        "INFERENCE_PRECISION_HINT": "f32",
        "NUM_STREAMS": str(streams),
        "INFERENCE_NUM_THREADS": "2",
    }
    queue = openvino.AsyncInferQueue(openvino.Core().compile_model(converted, "CPU", settings), streams)

    def run() -> None:
        for batch in batches:
            queue.start_async(batch, share_inputs=True)
        queue.wait_all()

    return run
