"""OpenVINO as a runtime, with one stream of one thread for each core. The only module that imports OpenVINO.

A network is converted from torch once, to OpenVINO's own format (a text for the graph, and its constants), which is
cached; see `patchcore.extraction.runtimes.openvino_cache`. After that, torch is not needed.
"""

import os
import sys
import warnings
from dataclasses import dataclass
from functools import lru_cache
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from patchcore.extraction.runtimes.base import Precision

if TYPE_CHECKING:
    import torch

_PRECISIONS = {"float32": "f32", "bfloat16": "bf16"}


@dataclass(frozen=True)
class Graph:
    """A converted network.

    Attributes:
        xml: the graph, OpenVINO IR.
        constants: its constants, float32, as the graph places them.
    """

    xml: bytes
    constants: bytes


class OpenVinoRuntime:
    """A converted network, run by OpenVINO."""

    def __init__(self, graph: Graph, precision: Precision) -> None:
        """Compile the graph for this CPU."""
        cores = os.cpu_count() or 1
        constants = _openvino().Tensor(np.frombuffer(graph.constants, dtype=np.uint8))
        model = _core().read_model(graph.xml.decode(), constants)
        options = {
            "NUM_STREAMS": cores,
            "INFERENCE_NUM_THREADS": cores,
            # Without this hint OpenVINO uses bfloat16 if the CPU has it.
            "INFERENCE_PRECISION_HINT": _PRECISIONS[precision],
        }
        compiled = _core().compile_model(model, "CPU", options)
        self._requests: SimpleQueue[Any] = SimpleQueue()
        for _ in range(cores):
            self._requests.put(compiled.create_infer_request())

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See `patchcore.extraction.runtimes.base.Runtime`."""
        request = self._requests.get()
        try:
            request.infer({0: images}, share_inputs=True)
            return np.array(request.get_output_tensor().data)  # a copy: the next call overwrites the tensor
        finally:
            self._requests.put(request)


def convert(network: "torch.nn.Module", shape: tuple[int, int, int, int]) -> Graph:
    """Convert a network of `patchcore.extraction.network.patch_network` that takes uint8 images of this shape."""
    import tempfile
    from pathlib import Path

    import torch

    openvino = _openvino()
    example = torch.zeros(shape, dtype=torch.uint8)
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tracing is deprecated, but torch.export takes three times as long
        traced: Any = torch.jit.trace(  # type: ignore[no-untyped-call]
            network.eval(), example, check_trace=False
        )
        model = openvino.convert_model(traced, example_input=example, input=list(shape))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "graph.xml"
        openvino.save_model(model, path, compress_to_fp16=False)
        return Graph(path.read_bytes(), path.with_suffix(".bin").read_bytes())


def has_bfloat16() -> bool:
    """Return whether OpenVINO has bfloat16 instructions on this CPU."""
    return "BF16" in _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


@lru_cache
def _core() -> Any:
    return _openvino().Core()


def _openvino() -> Any:
    # OpenVINO reports each import and conversion through this package; without the package it does not.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    return openvino
