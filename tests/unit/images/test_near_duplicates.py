from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from patchcore.cli.demo.data import choose_images
from patchcore.images.facts import describe_all
from patchcore.images.near_duplicates import near_duplicates


def naive(thumbnails: NDArray[np.float32], distance: float, settled: int) -> list[tuple[int, int]]:
    stays, pairs = list(range(settled)), []
    for later in range(settled, len(thumbnails)):
        for earlier in stays:
            difference = thumbnails[later].astype(float) - thumbnails[earlier]
            if np.sqrt((difference**2).mean()) <= distance:
                pairs.append((later, earlier))
                break
        else:
            stays.append(later)
    return pairs


@pytest.mark.parametrize("block", [1, 7, 512])
@pytest.mark.parametrize("settled", [0, 12])
def test_near_duplicates_are_those_of_two_plain_loops(block: int, settled: int) -> None:
    generator = np.random.default_rng(5)
    base = generator.uniform(0, 255, (12, 8, 8))
    noise = generator.uniform(0.0, 1.0, (60, 1, 1)) * generator.normal(0, 1, (60, 8, 8))
    thumbnails = (base[generator.integers(0, 12, 60)] + noise).astype(np.float32)
    for distance in (0.0, 0.3, 0.7, 1.2, 500.0):
        expected = naive(thumbnails, distance, settled)
        assert near_duplicates(thumbnails, distance, settled=settled, block=block) == expected
    assert 5 < len(naive(thumbnails, 0.7, 0)) < 48


def test_equal_images_are_found_at_distance_zero_and_none_are_found_among_none() -> None:
    one = np.random.default_rng(0).uniform(0, 255, (1, 64, 64)).astype(np.float32)
    assert near_duplicates(np.concatenate([one, one + 1, one]), 0.0) == [(2, 0)]
    assert near_duplicates(np.zeros((0, 64, 64), dtype=np.float32), 1.0) == []


def thumbnails_of(paths: Sequence[Path]) -> NDArray[np.float32]:
    return np.stack([facts.thumbnail for facts in describe_all(paths) if facts.thumbnail is not None])


def test_aligned_parts_are_not_near_duplicates_but_a_copy_saved_again_is(tmp_path: Path) -> None:
    originals = choose_images("mono", seed=0).first  # 200 real solar cells
    assert near_duplicates(thumbnails_of(originals), 0.7) == []

    copies = [tmp_path / "again.jpg", tmp_path / "smaller.png"]
    with Image.open(originals[0]) as image:
        image.save(copies[0], quality=90)
        image.resize((224, 224), Image.Resampling.BILINEAR).save(copies[1])
    assert near_duplicates(thumbnails_of([*originals[:10], *copies]), 0.7) == [(10, 0), (11, 0)]
