import os

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from patchcore.extraction.batching import FeatureExtractor
from patchcore.extraction.extractor import Extractor
from patchcore.extraction.network import patch_network
from patchcore.extraction.runtimes.base import RuntimeName
from patchcore.extraction.runtimes.openvino import OpenVinoRuntime, convert
from patchcore.extraction.weights import find_weights, load_state


def pictures(count: int, side: int = 96, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


@pytest.fixture(params=["torch", "openvino"])
def network(request: pytest.FixtureRequest, extractor: Extractor) -> FeatureExtractor:
    """Batches of 4 images of 96 pixels, by each of the runtimes."""
    runtime: RuntimeName = request.param
    return extractor.on(runtime, "float32").network


def test_lite0_gives_152_features_on_a_grid_of_an_eighth(network: FeatureExtractor) -> None:
    features = network(pictures(1))
    assert features.shape == (1, 12, 12, 152)
    assert features.dtype == np.float32
    assert features.flags.c_contiguous
    assert np.isfinite(features).all()


def test_neither_order_nor_company_changes_a_bit(network: FeatureExtractor) -> None:
    images = pictures(9)
    together = network(images)
    np.testing.assert_array_equal(network(images[::-1].copy())[::-1], together)
    alone = [network(images[number : number + 1]) for number in range(len(images))]
    np.testing.assert_array_equal(np.concatenate(alone), together)


def test_features_are_the_callers_own(network: FeatureExtractor) -> None:
    first, images = network(pictures(4)), pictures(4, seed=1)
    kept = first.copy()
    for _ in range(4):
        network(images)
    np.testing.assert_array_equal(first, kept)


def test_the_number_of_threads_changes_no_bit(network: FeatureExtractor) -> None:
    images, before = pictures(6), torch.get_num_threads()
    expected = network(images)
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            np.testing.assert_array_equal(network(images), expected)
            np.testing.assert_array_equal(network(images[:1]), expected[:1])
    finally:
        torch.set_num_threads(before)


def test_the_number_of_cores_changes_no_bit_in_openvino(monkeypatch: pytest.MonkeyPatch) -> None:
    state, images = load_state(find_weights("efficientnet_lite0")), pictures(10)
    graph = convert(patch_network("efficientnet_lite0", state, layers=("blocks.2", "blocks.4"), pool=3), (4, 96, 96, 3))
    features = []
    for cores in (1, 2, 3):
        monkeypatch.setattr(os, "cpu_count", lambda cores=cores: cores)
        features.append(FeatureExtractor(OpenVinoRuntime(graph, "float32"), image_size=96, batch_size=4)(images))
    np.testing.assert_array_equal(features[1], features[0])
    np.testing.assert_array_equal(features[2], features[0])


@pytest.mark.parametrize(
    "images",
    [pictures(1)[0], pictures(1)[..., :1], pictures(1).astype(np.float32), pictures(1)[:0], pictures(1, 64)],
    ids=["one image alone", "one channel", "float", "none", "another side"],
)
def test_images_of_another_shape_or_type_are_refused(network: FeatureExtractor, images: NDArray[np.uint8]) -> None:
    with pytest.raises(ValueError, match="images: got"):
        network(images)
