"""Patch features of any number of images, in batches of one size, each on one thread, in parallel.

Letters: B images, S side of the square image, h w grid of patches, D features of a patch (all layers' channels).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from patchcore._util.parallel import in_order
from patchcore.extraction.runtimes.base import Runtime

if TYPE_CHECKING:
    import torch


REVISION = 2
"""The revision of the code from pixels to features. Raise it when the same image and weights give other bytes."""


@dataclass(frozen=True)
class Backbone:
    """A pretrained network, and the normalisation of its input.

    Attributes:
        library: the library that has its architecture: timm or torchvision.
        architecture: its name there.
        mean: the mean of the training images for red, green and blue, on a scale from 0 to 1.
        deviation: their standard deviation, on the same scale.
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
    """Return a backbone's architecture with random weights; load the pretrained weights into it.

    Args:
        backbone: a key of `BACKBONES`.

    Raises:
        KeyError: there is no such backbone.
    """
    spec = BACKBONES[backbone]
    if spec.library == "timm":
        import timm

        network: torch.nn.Module = timm.create_model(spec.architecture, pretrained=False)
        return network
    import torchvision

    created: torch.nn.Module = torchvision.models.get_model(spec.architecture, weights=None)
    return created


class FeatureExtractor:
    """A network that is ready to run, for images of one size.

    An image has the same features, bit for bit, in every batch and on any number of cores. Kernels order their sums by
    the batch size and by the number of threads, which changes the last bits. So all batches have the same size, zeros
    fill up the last one, and one thread computes each batch; batches run in parallel.

    Example:
        >>> def grey(images):  # a runtime: one feature a pixel
        ...     return images.mean(axis=3, keepdims=True, dtype=np.float32)
        >>> extractor = FeatureExtractor(grey, image_size=8, batch_size=2)
        >>> extractor(np.zeros((3, 8, 8, 3), dtype=np.uint8)).shape  # (B, h, w, D)
        (3, 8, 8, 1)
    """

    def __init__(self, runtime: Runtime, *, image_size: int, batch_size: int) -> None:
        """Take a runtime that was made for batches of ``batch_size`` square images of ``image_size`` pixels."""
        self._runtime = runtime
        self._batch = (batch_size, image_size, image_size, 3)

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the patch features of images. The calling thread computes a single batch itself.

        Args:
            images: uint8 (B, S, S, 3), red, green, blue, from 0 to 255.

        Returns:
            float32 (B, h, w, D), on the grid of the shallowest layer; contiguous.

        Raises:
            ValueError: the images are not uint8 (B, S, S, 3) with the extractor's S, or there are none.
        """
        size, *square = self._batch
        if images.ndim != 4 or list(images.shape[1:]) != square or images.dtype != np.uint8 or len(images) == 0:
            side = self._batch[1]
            raise ValueError(
                f"images: got {images.dtype} {images.shape}, expected uint8 (B, {side}, {side}, 3), B >= 1"
            )
        if len(images) <= size:
            return self._one_batch(images)
        batches = (images[start : start + size] for start in range(0, len(images), size))
        return np.concatenate(list(in_order(self._one_batch, batches)))

    def _one_batch(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        if len(images) == self._batch[0]:
            return self._runtime(np.ascontiguousarray(images))
        filled = np.zeros(self._batch, dtype=np.uint8)
        filled[: len(images)] = images
        return np.ascontiguousarray(self._runtime(filled)[: len(images)])
