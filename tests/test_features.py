from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn.functional import avg_pool2d, interpolate

from patchcore.features import BACKBONES, FeatureExtractor, create_network
from patchcore.weights import find_weights, load_state

LITE = "efficientnet_lite0"
State = Mapping[str, torch.Tensor]


def pictures(count: int, side: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def state() -> State:
    return load_state(find_weights(LITE))


@pytest.fixture(scope="module")
def lite(state: State) -> FeatureExtractor:
    return FeatureExtractor(LITE, state, layers=("blocks.2", "blocks.4"), pool=3, batch_size=2)


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


def test_lite0_gives_152_features_on_a_grid_of_28(lite: FeatureExtractor) -> None:
    features = lite(pictures(1, 224))
    assert features.shape == (1, 28, 28, 152)
    assert features.dtype == np.float32
    assert features.flags.c_contiguous
    assert np.isfinite(features).all()


@pytest.mark.parametrize("pool", [1, 3, 5])
def test_features_are_pooled_upsampled_and_joined(state: State, pool: int) -> None:
    layers = ("blocks.2", "blocks.4")
    extractor = FeatureExtractor(LITE, state, layers=layers, pool=pool, batch_size=2)
    images = pictures(2, 96)
    expected = recomputed(LITE, state, images, layers, pool)
    np.testing.assert_allclose(extractor(images), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("layers", "depth"), [(("blocks.1",), 24), (("blocks.2", "blocks.3", "blocks.4"), 232)])
def test_any_layers_may_be_chosen(state: State, layers: tuple[str, ...], depth: int) -> None:
    extractor = FeatureExtractor(LITE, state, layers=layers, pool=3, batch_size=1)
    images = pictures(1, 64)
    features = extractor(images)
    assert features.shape[-1] == depth
    np.testing.assert_allclose(features, recomputed(LITE, state, images, layers, 3), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("backbone", "depth"), [("resnet18", 128 + 256), ("wide_resnet50_2", 512 + 1024)])
def test_the_layers_of_the_paper(backbone: str, depth: int) -> None:
    torch.manual_seed(0)
    random = create_network(backbone).state_dict()
    extractor = FeatureExtractor(backbone, random, layers=("layer2", "layer3"), pool=3, batch_size=1)
    images = pictures(1, 64)
    features = extractor(images)
    assert features.shape == (1, 8, 8, depth)
    expected = recomputed(backbone, random, images, ("layer2", "layer3"), 3)
    np.testing.assert_allclose(features, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_the_first_layer_sees_normalised_pixels(backbone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[torch.Tensor] = []
    layers = ("layer1",) if backbone in {"resnet18", "wide_resnet50_2"} else ("blocks.1",)
    extractor = FeatureExtractor(backbone, create_network(backbone).state_dict(), layers=layers, pool=1, batch_size=1)
    network = extractor._network

    def watch(pixels: torch.Tensor) -> dict[str, torch.Tensor]:
        seen.append(pixels)
        return dict(network(pixels))

    monkeypatch.setattr(extractor, "_network", watch)
    image = pictures(1, 32)
    extractor(image)
    mean, deviation = BACKBONES[backbone].mean, BACKBONES[backbone].deviation
    assert (mean[0], deviation[0]) == ((0.498, 0.502) if "lite" in backbone else (0.485, 0.229))
    for channel in range(3):  # red, green, blue, in this order
        expected = (image[0, :, :, channel] / 255 - mean[channel]) / deviation[channel]
        np.testing.assert_allclose(seen[0][0, channel].numpy(), expected, atol=1e-5)


def test_neither_order_nor_company_changes_a_bit(lite: FeatureExtractor) -> None:
    images = pictures(5, 64)
    together = lite(images)
    np.testing.assert_array_equal(lite(images[::-1].copy())[::-1], together)
    np.testing.assert_array_equal(np.concatenate([lite(images[number : number + 1]) for number in range(5)]), together)


def test_the_number_of_threads_changes_no_bit(lite: FeatureExtractor) -> None:
    images, before = pictures(6, 96), torch.get_num_threads()
    expected = lite(images)
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            np.testing.assert_array_equal(lite(images), expected)
            np.testing.assert_array_equal(lite(images[:1]), expected[:1])
    finally:
        torch.set_num_threads(before)


def test_an_unknown_layer_is_named_with_those_that_exist(state: State) -> None:
    with pytest.raises(ValueError, match=r"blocks\.99, which efficientnet_lite0 does not have.*blocks\.2"):
        FeatureExtractor(LITE, state, layers=("blocks.2", "blocks.99"), pool=3, batch_size=1)


@pytest.mark.parametrize(
    "images",
    [pictures(1, 32)[0], pictures(1, 32)[..., :1], pictures(1, 32).astype(np.float32), pictures(1, 32)[:0]],
    ids=["one image alone", "one channel", "float", "none"],
)
def test_images_of_another_shape_or_type_are_refused(lite: FeatureExtractor, images: NDArray[np.uint8]) -> None:
    with pytest.raises(ValueError, match="images: got"):
        lite(images)


def test_the_real_weights_are_in_the_network(lite: FeatureExtractor, state: State) -> None:
    torch.manual_seed(1)
    random = create_network(LITE).state_dict()
    other = FeatureExtractor(LITE, random, layers=("blocks.2", "blocks.4"), pool=3, batch_size=2)
    images = pictures(1, 64)
    assert not np.allclose(lite(images), other(images), atol=0.1)
    assert Path(find_weights(LITE).path).suffix == ".pth"
