import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn.functional import avg_pool2d, interpolate

from patchcore.extraction.batching import BACKBONES, create_network
from patchcore.extraction.network import patch_network
from patchcore.extraction.runtimes.base import Runtime, RuntimeName
from patchcore.extraction.runtimes.openvino import OpenVinoRuntime, convert
from patchcore.extraction.runtimes.torch import TorchRuntime
from patchcore.extraction.weights import find_weights, load_state

LITE = "efficientnet_lite0"
LAYERS = ("blocks.2", "blocks.4")
State = Mapping[str, torch.Tensor]


def pictures(count: int, side: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def state() -> State:
    return load_state(find_weights(LITE))


def run_by(
    name: RuntimeName, backbone: str, state: State, layers: tuple[str, ...], pool: int, images: NDArray[np.uint8]
) -> NDArray[np.float32]:
    network = patch_network(backbone, state, layers=layers, pool=pool)
    runtime: Runtime
    if name == "torch":
        runtime = TorchRuntime(network, "float32")
    else:
        count, side, *_ = images.shape
        runtime = OpenVinoRuntime(convert(network, (count, side, side, 3)), "float32")
    return runtime(images)


def recomputed(
    backbone: str, state: State, images: NDArray[np.uint8], layers: tuple[str, ...], pool: int
) -> NDArray[np.float32]:
    """The whole network, with hooks on its layers; the formula of the paper step by step."""
    network = create_network(backbone).eval()
    network.load_state_dict(dict(state))
    seen: dict[str, torch.Tensor] = {}
    for name in layers:

        def keep(_: object, __: object, output: torch.Tensor, name: str = name) -> None:
            seen[name] = output

        network.get_submodule(name).register_forward_hook(keep)
    spec = BACKBONES[backbone]
    with torch.no_grad():
        pixels = torch.from_numpy(images.astype(np.float32) / 255).permute(0, 3, 1, 2)
        network((pixels - torch.tensor(spec.mean)[:, None, None]) / torch.tensor(spec.deviation)[:, None, None])
        # Zeros around the border count as neighbours, as in the paper's code.
        pooled = [avg_pool2d(seen[name], pool, stride=1, padding=pool // 2) for name in layers]
        grid = pooled[0].shape[2:]
        large = [interpolate(layer, size=grid, mode="bilinear", align_corners=False) for layer in pooled]
    return torch.cat(large, dim=1).permute(0, 2, 3, 1).numpy()


@pytest.mark.parametrize(("runtime", "pool"), [("torch", 1), ("torch", 3), ("torch", 5), ("openvino", 3)])
def test_features_are_pooled_upsampled_and_joined(runtime: RuntimeName, state: State, pool: int) -> None:
    images = pictures(2, 96)
    features = run_by(runtime, LITE, state, LAYERS, pool, images)
    assert features.flags.c_contiguous
    np.testing.assert_allclose(features, recomputed(LITE, state, images, LAYERS, pool), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("runtime", "layers", "depth"),
    [
        ("torch", ("blocks.1",), 24),
        ("torch", ("blocks.2", "blocks.3", "blocks.4"), 232),
        ("openvino", ("blocks.2", "blocks.3", "blocks.4"), 232),
    ],
)
def test_any_layers_may_be_chosen(runtime: RuntimeName, state: State, layers: tuple[str, ...], depth: int) -> None:
    images = pictures(1, 64)
    features = run_by(runtime, LITE, state, layers, 3, images)
    assert features.shape[-1] == depth
    np.testing.assert_allclose(features, recomputed(LITE, state, images, layers, 3), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("runtime", "backbone", "depth"),
    [("torch", "resnet18", 384), ("torch", "wide_resnet50_2", 1536), ("openvino", "resnet18", 384)],
)
def test_the_layers_of_the_paper(runtime: RuntimeName, backbone: str, depth: int) -> None:
    torch.manual_seed(0)
    random = create_network(backbone).state_dict()
    images = pictures(1, 64)
    features = run_by(runtime, backbone, random, ("layer2", "layer3"), 3, images)
    assert features.shape == (1, 8, 8, depth)
    expected = recomputed(backbone, random, images, ("layer2", "layer3"), 3)
    np.testing.assert_allclose(features, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_the_first_layer_sees_normalised_pixels(backbone: str) -> None:
    seen: list[torch.Tensor] = []
    layers = ("layer1",) if backbone in {"resnet18", "wide_resnet50_2"} else ("blocks.1",)
    network = patch_network(backbone, create_network(backbone).state_dict(), layers=layers, pool=1)
    network.get_submodule("backbone").register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    image = pictures(1, 32)
    network(torch.from_numpy(image))
    mean, deviation = BACKBONES[backbone].mean, BACKBONES[backbone].deviation
    assert (mean[0], deviation[0]) == ((0.498, 0.502) if "lite" in backbone else (0.485, 0.229))
    for channel in range(3):  # red, green, blue, in this order
        expected = (image[0, :, :, channel] / 255 - mean[channel]) / deviation[channel]
        np.testing.assert_allclose(seen[0][0, channel].numpy(), expected, atol=1e-5)


def test_nothing_after_the_last_layer_is_computed(state: State) -> None:
    network = patch_network(LITE, state, layers=("blocks.2",), pool=3)
    names = {name.split(".")[2] for name, _ in network.named_modules() if name.startswith("backbone.blocks.")}
    assert names == {"0", "1", "2"}


def test_torch_folds_every_batch_norm(state: State) -> None:
    network = patch_network(LITE, state, layers=LAYERS, pool=3)
    TorchRuntime(network, "float32")
    assert not [module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)]


def test_an_unknown_layer_is_named_with_those_that_exist(state: State) -> None:
    with pytest.raises(ValueError, match=r"blocks\.99, which efficientnet_lite0 does not have.*blocks\.2"):
        patch_network(LITE, state, layers=("blocks.2", "blocks.99"), pool=3)


def test_the_real_weights_are_in_the_network(state: State) -> None:
    torch.manual_seed(1)
    random, images = create_network(LITE).state_dict(), pictures(1, 64)
    own = run_by("torch", LITE, state, LAYERS, 3, images)
    assert not np.allclose(own, run_by("torch", LITE, random, LAYERS, 3, images), atol=0.1)
    assert Path(find_weights(LITE).path).suffix == ".pth"


def test_openvino_tells_nobody() -> None:
    program = """
import sys
from patchcore.extraction.runtimes.openvino import has_bfloat16
has_bfloat16()
assert "openvino" in sys.modules
assert sys.modules["openvino_telemetry"] is None
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True)
