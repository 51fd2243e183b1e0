"""torch as a runtime: one thread for each call, channels last, batch norms folded into convolutions."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from patchcore.extraction.runtimes.base import Precision

if TYPE_CHECKING:
    import torch


class TorchRuntime:
    """A network of `patchcore.extraction.network.patch_network`, run by torch."""

    def __init__(self, network: "torch.nn.Module", precision: Precision) -> None:
        """Take the network, and change it in place."""
        import torch

        self._type = torch.bfloat16 if precision == "bfloat16" else None
        _fold_batch_norms(network)
        self._network = network.eval().to(memory_format=torch.channels_last)

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See `patchcore.extraction.runtimes.base.Runtime`."""
        import torch

        with torch.inference_mode(), _one_thread(), torch.autocast("cpu", self._type, enabled=self._type is not None):
            features: NDArray[np.float32] = self._network(torch.from_numpy(images)).contiguous().numpy()
            return features


def has_bfloat16() -> bool:
    """Return whether torch has bfloat16 instructions on this CPU."""
    import torch

    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def _fold_batch_norms(network: "torch.nn.Module") -> None:
    """Fold each batch norm into the preceding convolution, which saves one pass over the pixels."""
    import torch
    from torch.fx import GraphModule
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    for graph in [module for module in network.modules() if isinstance(module, GraphModule)]:
        modules = {name: module.eval() for name, module in graph.named_modules()}
        for node in graph.graph.nodes:
            norm, before = modules.get(str(node.target)), node.args[0] if node.args else None
            if not isinstance(norm, torch.nn.BatchNorm2d) or not isinstance(before, torch.fx.Node):
                continue
            convolution = modules.get(str(before.target))
            if isinstance(convolution, torch.nn.Conv2d) and len(before.users) == 1:
                graph.set_submodule(str(before.target), fuse_conv_bn_eval(convolution, norm))
                # timm's batch norms hold the activation that follows.
                graph.set_submodule(str(node.target), getattr(norm, "act", torch.nn.Identity()))


@contextmanager
def _one_thread() -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)  # of the calling thread alone
    try:
        yield
    finally:
        torch.set_num_threads(before)
