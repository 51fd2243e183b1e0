import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

from patchcore.bank import scoring
from patchcore.bank.scoring import Scores
from patchcore.coreset import kcenter
from patchcore.extraction.extractor import Extractor
from patchcore.images.decoding import to_square
from patchcore.search.index import NearestNeighbours

Features = NDArray[np.float32]
Draw = Callable[..., NDArray[np.uint8]]


def cloud(*shape: int, seed: int = 0) -> Features:
    return np.random.default_rng(seed).normal(0, 1, shape).astype(np.float32)


def score(features: Features, rows: Features, neighbours: int = 1) -> Scores:
    return scoring.score(features, rows, NearestNeighbours(rows), neighbours=neighbours)


@pytest.mark.parametrize("neighbours", [1, 3, 9])
def test_images_score_0_against_a_bank_of_their_own_patches(neighbours: int) -> None:
    features = cloud(3, 5, 4, 20)
    found = score(features, features.reshape(-1, 20), neighbours)
    np.testing.assert_array_equal(found.image, 0)
    np.testing.assert_array_equal(found.maps, 0)
    np.testing.assert_array_equal(found.nearest, np.arange(60).reshape(3, 5, 4))


def test_the_score_is_the_largest_distance_to_the_nearest_row() -> None:
    features, rows = cloud(4, 6, 7, 9, seed=1), cloud(30, 9, seed=2)
    distance = np.linalg.norm(features[..., None, :].astype(float) - rows, axis=-1)  # (B, h, w, M)
    found = score(features, rows)
    np.testing.assert_allclose(found.maps, distance.min(axis=-1), rtol=1e-6)
    np.testing.assert_allclose(found.image, distance.min(axis=-1).max(axis=(1, 2)), rtol=1e-6)
    np.testing.assert_array_equal(found.nearest, distance.argmin(axis=-1))
    assert [str(array.dtype) for array in vars(found).values()] == ["float32", "float32", "int64"]


@pytest.mark.parametrize("neighbours", [2, 3, 9])
def test_equation_7_of_the_paper(neighbours: int) -> None:
    features, rows = cloud(5, 3, 3, 6, seed=3), cloud(40, 6, seed=4)
    expected = []
    for image in features.reshape(5, 9, 6).astype(float):
        to_rows = np.linalg.norm(image[:, None] - rows, axis=2)  # (patches, M)
        worst = to_rows.min(axis=1).argmax()
        nearest = to_rows[worst].argmin()
        around = np.argsort(np.linalg.norm(rows - rows[nearest], axis=1))[:neighbours]  # N_b(m*)
        star = to_rows[worst, nearest]
        expected.append((1 - np.exp(star) / np.exp(to_rows[worst, around]).sum()) * star)
    found = score(features, rows, neighbours)
    np.testing.assert_allclose(found.image, expected, rtol=1e-5)
    assert (found.image <= score(features, rows).image).all()


def test_equation_7_bears_distances_whose_exponential_overflows() -> None:
    features, rows = cloud(2, 3, 3, 6) * np.float32(1e4), cloud(40, 6, seed=4)
    with np.errstate(over="raise", invalid="raise"):
        found = score(features, rows, 9)
    assert np.isfinite(found.image).all()
    assert ((found.image >= 0) & (found.image <= found.maps.max(axis=(1, 2)))).all()


@pytest.mark.parametrize("neighbours", [1, 9])
def test_neither_order_nor_company_changes_a_bit(neighbours: int) -> None:
    features, rows = cloud(12, 6, 6, 32, seed=5), cloud(200, 32, seed=6)
    together = score(features, rows, neighbours)
    backwards = score(features[::-1].copy(), rows, neighbours)
    np.testing.assert_array_equal(together.image, backwards.image[::-1])
    np.testing.assert_array_equal(together.maps, backwards.maps[::-1])
    parts = [score(features[start : start + size], rows, neighbours) for start, size in ((0, 1), (1, 4), (5, 7))]
    joined = scoring.join(parts)
    for whole, part in zip(vars(together).values(), vars(joined).values(), strict=True):
        np.testing.assert_array_equal(whole, part)
    np.testing.assert_array_equal(together.part(slice(3, 5)).maps, together.maps[3:5])


def bank_rows(extractor: Extractor, normals: NDArray[np.uint8]) -> Features:
    patches = extractor.network(normals).reshape(-1, 152)
    return patches[kcenter.select(patches, len(patches) // 10, seed=0).indices]


def test_a_scratch_raises_the_score_where_it_is(extractor: Extractor, draw: Draw, scratch: tuple[slice, slice]) -> None:
    rows = bank_rows(extractor, np.stack([draw(number) for number in range(6)]))
    clean = score(extractor.network(np.stack([draw(50 + number) for number in range(4)])), rows)
    scratched = score(extractor.network(np.stack([draw(50 + number, scratch=True) for number in range(4)])), rows)
    assert scratched.image.min() > 1.5 * clean.image.max()
    maps = scoring.anomaly_maps(scratched.maps, 96, sigma=4.0)
    assert maps.shape == (4, 96, 96)
    assert maps.dtype == np.float32
    for peak in maps.reshape(4, -1).argmax(axis=1):
        y, x = np.unravel_index(peak, (96, 96))
        assert scratch[0].start - 8 <= y < scratch[0].stop + 8
        assert scratch[1].start - 8 <= x < scratch[1].stop + 8


def test_a_scratch_on_a_real_solar_cell_raises_its_score(extractor: Extractor) -> None:
    package = pytest.importorskip("elpv_dataset")
    folder = Path(package.__file__).parent / "data"
    lines = [line.split() for line in (folder / "labels.csv").read_text().splitlines()]
    whole = [folder / name for name, probability, kind in lines if (float(probability), kind) == (0.0, "mono")][:10]
    cells = [np.asarray(Image.open(path).convert("RGB")) for path in whole]
    side = extractor.config.image_size
    rows = bank_rows(extractor, np.stack([to_square(cell, side) for cell in cells[:7]]))
    for cell in cells[7:]:
        scratched = cell.copy()
        scratched[140:150, 60:240] = 0
        pair = np.stack([to_square(cell, side), to_square(scratched, side)])
        before, after = score(extractor.network(pair), rows).image
        assert after > before


def test_a_map_keeps_its_place_and_its_level() -> None:
    maps = np.zeros((2, 8, 8), dtype=np.float32)
    maps[0, 2, 5] = 1
    maps[1] = 3
    large = scoring.anomaly_maps(maps, 64, sigma=0)
    y, x = np.argwhere(large[0] == large[0].max()).mean(axis=0)
    assert (y, x) == (2.5 * 8 - 0.5, 5.5 * 8 - 0.5)  # the middle of the patch, in pixels
    smooth = scoring.anomaly_maps(maps, 64, sigma=4.0)
    assert 0 < smooth[0].max() < large[0].max()
    assert smooth[0].sum() == pytest.approx(large[0].sum(), rel=1e-3)  # a Gaussian moves, it does not add
    np.testing.assert_allclose(smooth[1], 3, rtol=1e-6)


@pytest.mark.parametrize("sigma", [0.0, 1.5, 4.0, 30.0])
@pytest.mark.parametrize(("height", "width", "size"), [(28, 28, 224), (14, 20, 96), (28, 7, 20), (1, 1, 50)])
def test_a_map_is_upsampled_and_smoothed_as_torch_and_scipy_do(
    height: int, width: int, size: int, sigma: float
) -> None:
    maps = np.random.default_rng(0).gamma(2, 10, (3, height, width)).astype(np.float32)
    grid = torch.from_numpy(maps)[:, None].double()
    large = torch.nn.functional.interpolate(grid, size=(size, size), mode="bilinear", align_corners=False)[:, 0]
    expected = gaussian_filter(large.numpy(), sigma=(0, sigma, sigma)) if sigma else large.numpy()
    found = scoring.anomaly_maps(maps, size, sigma=sigma)
    assert found.dtype == np.float32
    assert found.shape == (3, size, size)
    np.testing.assert_allclose(found, expected, rtol=3e-6)
    np.testing.assert_array_equal(scoring.anomaly_maps(maps[1:2], size, sigma=sigma)[0], found[1])


def test_scoring_needs_no_torch() -> None:
    program = (
        "import sys, numpy as np\n"
        "from patchcore.bank import scoring\n"
        "from patchcore.search.index import NearestNeighbours\n"
        "rows = np.eye(9, dtype=np.float32); features = rows.reshape(1, 3, 3, 9)\n"
        "scores = scoring.score(features, rows, NearestNeighbours(rows), neighbours=1)\n"
        "scoring.anomaly_maps(scores.maps, 20, sigma=4.0); print({'torch', 'faiss'} & sys.modules.keys())"
    )
    run = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert run.stdout.strip() == "set()"


@pytest.mark.parametrize("neighbours", [0, 31])
def test_a_number_of_neighbours_that_cannot_be_is_refused(neighbours: int) -> None:
    with pytest.raises(ValueError, match=f"neighbours: got {neighbours}, expected 1 to 30"):
        score(cloud(1, 2, 2, 4), cloud(30, 4), neighbours)


def test_features_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match="features: got shape"):
        score(cloud(2, 2, 4), cloud(30, 4))
    with pytest.raises(ValueError, match="queries: got"):
        score(cloud(1, 2, 2, 5), cloud(30, 4))
