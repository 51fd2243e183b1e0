"""Locally aware patch features: mid-level layers of a pretrained network, pooled, upsampled, concatenated.

Source: PatchCore (Roth et al., CVPR 2022), section 3.1, Eq. 2 and 3. The paper's code reshapes pooled vectors to a
common width before it concatenates; here the channels of the layers are concatenated as they are, so that a feature
keeps its place.

Letters: B images, S side of the square image, h w grid of patches, D features of a patch (all layers' channels).
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from patchcore.parallel import in_order

if TYPE_CHECKING:
    import torch


REVISION = 1
"""Of this code: to be raised when the same image and weights come to have other bytes."""


@dataclass(frozen=True)
class Backbone:
    """What a pretrained network needs to know of its input.

    Attributes:
        library: where its architecture comes from, timm or torchvision.
        architecture: its name there.
        mean: of the images that it was trained on, for each of red, green, blue, on a scale from 0 to 1.
        deviation: standard deviation of the same.
    """

    library: str
    architecture: str
    mean: tuple[float, float, float]
    deviation: tuple[float, float, float]


_HALF, _IMAGENET = (0.498, 0.498, 0.498), (0.485, 0.456, 0.406)
_HALF_DEVIATION, _IMAGENET_DEVIATION = (0.502, 0.502, 0.502), (0.229, 0.224, 0.225)

BACKBONES: Mapping[str, Backbone] = {
    **{
        f"efficientnet_lite{size}": Backbone("timm", f"tf_efficientnet_lite{size}", _HALF, _HALF_DEVIATION)
        for size in (0, 1, 2)
    },
    **{name: Backbone("torchvision", name, _IMAGENET, _IMAGENET_DEVIATION) for name in ("wide_resnet50_2", "resnet18")},
}


def create_network(backbone: str) -> "torch.nn.Module":
    """Return a backbone's architecture with random weights, to be filled with the real ones."""
    spec = BACKBONES[backbone]
    if spec.library == "timm":
        import timm

        network: torch.nn.Module = timm.create_model(spec.architecture, pretrained=False)
        return network
    import torchvision

    created: torch.nn.Module = torchvision.models.get_model(spec.architecture, weights=None)
    return created


class FeatureExtractor:
    """A backbone up to the last of the layers asked for, with the pooling and concatenation of PatchCore.

    An image has the same features, bit for bit, whatever stands beside it and however many cores there are. Kernels
    split their sums by the size of a batch and by the number of threads, and with them the last bits. So batches always
    have the same size, the last one filled up with zeros, and each is computed by one thread; batches run side by side.
    """

    def __init__(
        self,
        backbone: str,
        state: Mapping[str, "torch.Tensor"],
        *,
        layers: Sequence[str],
        pool: int,
        batch_size: int,
    ) -> None:
        """Take the architecture's name, its weights, and the names of its layers, shallow to deep.

        Raises:
            ValueError: the network has no such layer, or the weights do not fit.
        """
        import torch
        from timm.models import create_feature_extractor

        spec = BACKBONES[backbone]
        network = create_network(backbone)
        _check_layers(backbone, network, layers)
        network.load_state_dict(dict(state))
        # Traced, so that nothing after the last layer is computed.
        graph: Any = create_feature_extractor(network.eval(), {layer: layer for layer in layers})
        self._network = graph.eval().to(memory_format=torch.channels_last)
        self._layers = tuple(layers)
        self._pool = pool
        self._batch_size = batch_size
        # (3, 1, 1) each, on the scale of 8-bit pixels.
        self._mean = torch.tensor(spec.mean)[:, None, None] * 255
        self._deviation = torch.tensor(spec.deviation)[:, None, None] * 255

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the patch features of images.

        Args:
            images: uint8 (B, S, S, 3), red, green, blue, from 0 to 255.

        Returns:
            float32 (B, h, w, D), on the grid of the shallowest layer; contiguous.

        Raises:
            ValueError: the shape or the type has no meaning.
        """
        if images.ndim != 4 or images.shape[3] != 3 or images.dtype != np.uint8 or len(images) == 0:
            raise ValueError(f"images: got {images.dtype} {images.shape}, expected uint8 (B, S, S, 3), B >= 1")
        if len(images) <= self._batch_size:
            return self._one_batch(images)
        batches = (images[start : start + self._batch_size] for start in range(0, len(images), self._batch_size))
        return np.concatenate(list(in_order(self._one_batch, batches)))

    def _one_batch(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        import torch
        from torch.nn.functional import avg_pool2d, interpolate

        filled = np.zeros((self._batch_size, *images.shape[1:]), dtype=np.uint8)
        filled[: len(images)] = images
        with torch.inference_mode(), _one_thread():
            pixels = torch.from_numpy(filled).permute(0, 3, 1, 2).float()  # (B, 3, S, S), channels last in memory
            maps: dict[str, torch.Tensor] = self._network((pixels - self._mean) / self._deviation)
            pooled = [avg_pool2d(maps[layer], self._pool, stride=1, padding=self._pool // 2) for layer in self._layers]
            grid = max((layer.shape[2:] for layer in pooled), key=lambda shape: shape[0] * shape[1])  # (h, w)
            same = [interpolate(layer, size=grid, mode="bilinear", align_corners=False) for layer in pooled]
            patches = torch.cat(same, dim=1).permute(0, 2, 3, 1)  # (B, h, w, D)
            return np.ascontiguousarray(patches[: len(images)].numpy())


@contextmanager
def _one_thread() -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)  # of the calling thread alone
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _check_layers(backbone: str, network: "torch.nn.Module", layers: Sequence[str]) -> None:
    known = [name for name, _ in network.named_modules() if name]
    unknown = [layer for layer in layers if layer not in known]
    if unknown:
        short = ", ".join(name for name in known if name.count(".") <= 1)
        raise ValueError(f"layers: got {', '.join(unknown)}, which {backbone} does not have, expected some of {short}")
