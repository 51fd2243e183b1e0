"""The network of PatchCore as one graph, from 8-bit pixels to patch features.

Source: Roth et al., "Towards Total Recall in Industrial Anomaly Detection" (PatchCore), CVPR 2022, section 3.1, Eq. 2
and 3. The paper's code resamples pooled vectors to a common width before it concatenates them; here the channels of the
layers are concatenated unchanged, so that each feature is one channel of one layer.

Letters: B images, S side of the square image, h w grid of patches, D features of a patch (all layers' channels).
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from patchcore.extraction.batching import BACKBONES, create_network

if TYPE_CHECKING:
    import torch


def patch_network(
    backbone: str, state: Mapping[str, "torch.Tensor"], *, layers: Sequence[str], pool: int
) -> "torch.nn.Module":
    """Return a backbone up to the last of the named layers, with the pooling and concatenation of PatchCore.

    Normalisation, pooling and concatenation are part of the network, so that a runtime can fuse them with its layers.

    Args:
        backbone: one of `BACKBONES`.
        state: its weights by name; random ones suffice to measure speed.
        layers: names of its layers, shallow to deep.
        pool: odd side of the neighbourhood that is averaged, in patches.

    Returns:
        A network that takes uint8 (B, S, S, 3), red, green, blue, 0 to 255, to float32 (B, h, w, D), on the grid of the
        largest of the layers.

    Raises:
        ValueError: the network has no such layer.
        RuntimeError: the weights do not fit.
    """
    import torch
    from timm.models import create_feature_extractor
    from torch.nn.functional import avg_pool2d, interpolate

    network = create_network(backbone)
    _check_layers(backbone, network, layers)
    network.load_state_dict(dict(state))
    # Traced, so that nothing after the last layer is computed.
    traced: Any = create_feature_extractor(network.eval(), {layer: layer for layer in layers})

    class PatchNetwork(torch.nn.Module):
        mean: torch.Tensor
        scale: torch.Tensor

        def __init__(self) -> None:
            super().__init__()
            spec = BACKBONES[backbone]
            self.backbone = traced
            # (3, 1, 1) each, on the scale of 8-bit pixels.
            self.register_buffer("mean", torch.tensor(spec.mean)[:, None, None] * 255)
            self.register_buffer("scale", 1 / (torch.tensor(spec.deviation)[:, None, None] * 255))

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            pixels = images.permute(0, 3, 1, 2).float()  # (B, 3, S, S), channels last in memory
            maps = self.backbone((pixels - self.mean) * self.scale)
            # Zeros around the border count as neighbours, as in the paper's code.
            pooled = [avg_pool2d(maps[layer].float(), pool, stride=1, padding=pool // 2) for layer in layers]
            grid = max((layer.shape[2:] for layer in pooled), key=lambda shape: shape[0] * shape[1])  # (h, w)
            same = [
                layer
                if layer.shape[2:] == grid
                else interpolate(layer, size=grid, mode="bilinear", align_corners=False)
                for layer in pooled
            ]
            return torch.cat(same, dim=1).permute(0, 2, 3, 1)  # (B, h, w, D)

    return PatchNetwork().eval()


def _check_layers(backbone: str, network: "torch.nn.Module", layers: Sequence[str]) -> None:
    known = [name for name, _ in network.named_modules() if name]
    unknown = [layer for layer in layers if layer not in known]
    if unknown:
        short = ", ".join(name for name in known if name.count(".") <= 1)
        raise ValueError(f"layers: got {', '.join(unknown)}, which {backbone} does not have, expected some of {short}")
