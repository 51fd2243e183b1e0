from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from patchcore._util.files import sha256_of
from patchcore.images.facts import ImageFacts, describe
from patchcore.steps.cache import read_arrays, write_arrays
from patchcore.steps.facts_cache import File, facts_of

Draw = Callable[..., NDArray[np.uint8]]


@pytest.fixture
def files(draw: Draw, tmp_path: Path) -> list[File]:
    for number in range(3):
        Image.fromarray(draw(number)).save(tmp_path / f"{number}.png")
    (tmp_path / "3.png").write_bytes(b"no image")
    return [File(path, sha256_of(path)) for path in sorted(tmp_path.iterdir())]


def assert_described(found: list[ImageFacts], files: list[File]) -> None:
    for facts, file in zip(found, files, strict=True):
        expected = vars(describe(file.path))
        for name, value in vars(facts).items():
            np.testing.assert_array_equal(value, expected[name])


def test_known_images_are_not_read_again(files: list[File], tmp_path: Path) -> None:
    cache = tmp_path / "cache" / "part.cache"
    steps: list[int] = []
    first = facts_of(cache, files, steps.append)
    assert steps == [1, 2, 3, 4]
    assert_described(first, files)
    kept = [(file.path, file.path.read_bytes()) for file in files]
    for file in files[:3]:
        file.path.unlink()
    again = facts_of(cache, files, steps.append)
    assert steps[4:] == [3, 4]  # three at once, and the one that is no image is looked at again
    for path, content in kept:
        path.write_bytes(content)
    assert_described(again, files)


@pytest.mark.parametrize("damage", ["other code", "a flipped bit", "cut short", "missing"])
def test_a_cache_that_cannot_be_believed_is_made_again(files: list[File], tmp_path: Path, damage: str) -> None:
    cache = tmp_path / "cache" / "part.cache"
    facts_of(cache, files)
    content = bytearray(cache.read_bytes())
    if damage == "other code":
        arrays = read_arrays(cache)
        assert arrays is not None
        changed = {"code": np.frombuffer(b"0" * 64, dtype=np.uint8), "thumbnails": 0 * arrays["thumbnails"]}
        write_arrays(cache, {**arrays, **changed})
    elif damage == "a flipped bit":
        content[-1] ^= 1
        cache.write_bytes(content)
    elif damage == "cut short":
        cache.write_bytes(content[:100])
    else:
        cache.unlink()
    assert_described(facts_of(cache, files), files)


def test_only_what_was_asked_for_is_kept(files: list[File], tmp_path: Path, draw: Draw) -> None:
    cache = tmp_path / "cache" / "part.cache"
    facts_of(cache, files)
    size = cache.stat().st_size
    Image.fromarray(draw(9)).save(tmp_path / "9.png")
    facts_of(cache, [files[0], File(tmp_path / "9.png", sha256_of(tmp_path / "9.png"))])
    assert cache.stat().st_size < size


def test_no_files_have_no_facts(tmp_path: Path) -> None:
    assert facts_of(tmp_path / "part.cache", []) == []
