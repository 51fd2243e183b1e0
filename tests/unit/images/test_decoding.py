import hashlib
import io
import os
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from patchcore._util.files import sha256_of
from patchcore.errors import Refused, UnreadableImage
from patchcore.images.decoding import list_images, load_known, load_mask, load_rgb, rgb_of_bytes
from patchcore.images.facts import describe, describe_all


def picture(seed: int = 0, width: int = 40, height: int = 30) -> Image.Image:
    generator = np.random.default_rng(seed)
    return Image.fromarray(generator.integers(0, 256, (height, width, 3), dtype=np.uint8))


def saved(image: Image.Image, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)
    return path


def test_files_are_listed_in_posix_order_whatever_their_suffix(tmp_path: Path) -> None:
    for name in ("b.png", "a/z.txt", "a.png", ".hidden.png", ".folder/c.png", "a/nothing"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    names = [path.relative_to(tmp_path).as_posix() for path in list_images(tmp_path)]
    assert names == ["a.png", "a/nothing", "a/z.txt", "b.png"]
    assert list_images(tmp_path / "none") == []


def test_links_to_files_are_listed_even_those_that_lead_nowhere(tmp_path: Path) -> None:
    picture_elsewhere = saved(picture(), tmp_path / "elsewhere/part.png")
    (tmp_path / "batch").mkdir()
    (tmp_path / "batch/good.png").symlink_to(picture_elsewhere)
    (tmp_path / "batch/gone.png").symlink_to(tmp_path / "nowhere.png")
    (tmp_path / "batch/itself.png").symlink_to("itself.png")
    assert [path.name for path in list_images(tmp_path / "batch")] == ["gone.png", "good.png", "itself.png"]
    (tmp_path / "linked").symlink_to(tmp_path / "batch")
    assert list_images(tmp_path / "linked")[1] == tmp_path / "linked/good.png"


@pytest.mark.parametrize("target", ["elsewhere", "batch", "."])
def test_a_link_to_a_folder_is_refused_not_overlooked(tmp_path: Path, target: str) -> None:
    saved(picture(), tmp_path / "elsewhere/part.png")
    saved(picture(), tmp_path / "batch/sub/part.png")
    (tmp_path / "batch/sub/link").symlink_to(tmp_path / target)
    with pytest.raises(Refused, match="sub/link cannot be taken: got a link to a folder"):
        list_images(tmp_path / "batch")


def test_a_pipe_is_refused_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(Refused, match=r"pipe\.png cannot be taken"):
        list_images(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every folder")
def test_a_folder_that_may_not_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o000)
    with pytest.raises(Refused, match="closed cannot be listed"):
        list_images(tmp_path)


def test_a_grey_picture_becomes_three_equal_channels(tmp_path: Path) -> None:
    path = saved(Image.new("L", (20, 10), 77), tmp_path / "grey.png")
    assert np.array_equal(load_rgb(path, 8), np.full((8, 8, 3), 77, dtype=np.uint8))


def test_resizing_averages_what_it_shrinks(tmp_path: Path) -> None:
    stripes = np.zeros((64, 64), dtype=np.uint8)
    stripes[:, ::2] = 255
    square = load_rgb(saved(Image.fromarray(stripes), tmp_path / "stripes.png"), 8)
    assert square.dtype == np.uint8
    assert np.abs(square.astype(int) - 127).max() <= 8  # without antialiasing: 0 or 255


def test_bytes_and_file_give_the_same_picture(tmp_path: Path) -> None:
    path = saved(picture(), tmp_path / "one.png")
    assert np.array_equal(load_rgb(path, 16), rgb_of_bytes(path.read_bytes(), 16, "served"))


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA"])
def test_supported_modes_are_read(tmp_path: Path, mode: str) -> None:
    path = saved(picture().convert(mode), tmp_path / "image.png")
    assert load_rgb(path, 8).shape == (8, 8, 3)
    assert describe(path).mode == mode


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA"])
@pytest.mark.parametrize("size", [(40, 30), (301, 257), (16, 16)])
def test_the_pixels_are_those_of_the_colour_picture_resized(tmp_path: Path, mode: str, size: tuple[int, int]) -> None:
    path = saved(picture(5, *size).convert(mode), tmp_path / "image.png")
    with Image.open(path) as image:
        expected = np.asarray(image.convert("RGB").resize((16, 16), Image.Resampling.BILINEAR))
    assert np.array_equal(load_rgb(path, 16), expected)


def truncated(folder: Path) -> Path:
    whole = saved(picture(), folder / "truncated.png")
    whole.write_bytes(whole.read_bytes()[:-800])
    return whole


def text(folder: Path) -> Path:
    (folder / "text.png").write_text("not an image")
    return folder / "text.png"


def nothing(folder: Path) -> Path:
    (folder / "nothing.png").touch()
    return folder / "nothing.png"


def sixteen_bits(folder: Path) -> Path:
    return saved(Image.fromarray(np.full((8, 8), 4000, dtype=np.uint16)), folder / "deep.png")


def pages(folder: Path) -> Path:
    picture(1).save(folder / "pages.tiff", save_all=True, append_images=[picture(2)])
    return folder / "pages.tiff"


def postscript(folder: Path) -> Path:
    return saved(picture(), folder / "program.eps")


def bomb(folder: Path) -> Path:
    header = struct.pack("<2sIHHI", b"BM", 54, 0, 0, 54) + struct.pack(
        "<IiiHHIIiiII", 40, 60_000, 60_000, 1, 24, *[0] * 6
    )
    (folder / "bomb.bmp").write_bytes(header)
    return folder / "bomb.bmp"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (truncated, "damaged image"),
        (text, "not an image"),
        (nothing, "an empty file"),
        (sixteen_bits, "mode I;16"),
        (pages, "several images"),
        (postscript, "not an image"),
        (bomb, "pixels"),
    ],
)
def test_bad_files_are_refused_by_name_and_described_without_an_error(
    tmp_path: Path, make: Callable[[Path], Path], words: str
) -> None:
    path = make(tmp_path)
    with pytest.raises(UnreadableImage, match=path.name) as caught:
        load_rgb(path, 8)
    assert words in str(caught.value)
    assert caught.value.exit_code == 3

    facts = describe(path)
    assert not facts.decodable
    assert facts.reason
    assert words in facts.reason
    assert "\n" not in facts.reason
    assert facts.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert facts.thumbnail is None


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnreadableImage, match=r"gone\.png"):
        load_rgb(tmp_path / "gone.png", 8)
    with pytest.raises(UnreadableImage, match=r"gone\.png"):
        describe(tmp_path / "gone.png")


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow warns of odd tags before it fails
@pytest.mark.parametrize("suffix", ["PNG", "JPEG", "TIFF", "BMP"])
def test_no_damage_escapes_as_another_error(tmp_path: Path, suffix: str) -> None:
    stream = io.BytesIO()
    picture().save(stream, suffix)
    content = stream.getvalue()
    generator = np.random.default_rng(7)
    for _ in range(150):
        damaged = bytearray(content[: generator.integers(1, len(content) + 1)])
        for place in generator.integers(0, min(len(damaged), 200), 4):
            damaged[place] = generator.integers(0, 256)
        path = tmp_path / "damaged"
        path.write_bytes(damaged)
        facts = describe(path)
        assert facts.decodable == (facts.reason is None) == (facts.thumbnail is not None)


def test_masks_are_true_where_any_channel_is_above_zero(tmp_path: Path) -> None:
    marks = np.zeros((4, 4, 3), dtype=np.uint8)
    marks[0, 0] = (0, 0, 1)
    marks[3, 3] = (255, 255, 255)
    mask = load_mask(saved(Image.fromarray(marks), tmp_path / "mask.png"), 8)
    expected = np.zeros((8, 8), dtype=bool)
    expected[:2, :2] = expected[6:, 6:] = True
    assert mask.dtype == np.bool_
    assert np.array_equal(mask, expected)


def test_facts_of_a_picture(tmp_path: Path) -> None:
    facts = describe(saved(Image.new("L", (20, 10), 100), tmp_path / "flat.png"))
    assert (facts.width, facts.height, facts.mode) == (20, 10, "L")
    assert facts.brightness == pytest.approx(100.0)
    assert facts.sharpness == 0.0
    assert facts.thumbnail is not None
    assert facts.thumbnail.shape == (64, 64)
    assert facts.thumbnail.dtype == np.float32
    assert np.allclose(facts.thumbnail, 100.0)


def test_sharpness_is_the_variance_of_the_laplacian(tmp_path: Path) -> None:
    levels = np.random.default_rng(3).integers(0, 256, (9, 7), dtype=np.uint8)
    facts = describe(saved(Image.fromarray(levels), tmp_path / "noise.png"))
    x = levels.astype(float)
    laplacian = [
        x[i - 1, j] + x[i + 1, j] + x[i, j - 1] + x[i, j + 1] - 4 * x[i, j] for i in range(1, 8) for j in range(1, 6)
    ]
    assert facts.sharpness == pytest.approx(np.var(laplacian), rel=1e-6)


def test_one_pixel_has_facts_too(tmp_path: Path) -> None:
    assert describe(saved(Image.new("L", (1, 1), 9), tmp_path / "dot.png")).sharpness == 0.0


def test_a_file_that_is_too_large_is_described_without_being_held_in_memory(tmp_path: Path) -> None:
    path = tmp_path / "disk.png"
    with path.open("wb") as stream:
        stream.truncate(2**29 + 1)  # sparse: it takes no room
    facts = describe(path)
    assert (facts.decodable, facts.reason) == (False, f"{2**29 + 1} bytes")
    assert facts.sha256 == sha256_of(path)
    with pytest.raises(UnreadableImage, match=f"at most {2**29} bytes"):
        load_rgb(path, 16)


def test_many_are_described_in_their_order(tmp_path: Path) -> None:
    paths = [saved(Image.new("L", (8, 8), level), tmp_path / f"{level}.png") for level in range(20)]
    steps: list[int] = []
    facts = describe_all(paths, steps.append)
    assert [fact.brightness for fact in facts] == pytest.approx(list(range(20)))
    assert steps == list(range(1, 21))


def test_a_picture_of_known_bytes_is_read_and_one_that_changed_is_refused(tmp_path: Path) -> None:
    path = saved(picture(), tmp_path / "part.png")
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    assert (load_known(path, sha256, 16) == load_rgb(path, 16)).all()
    saved(picture(seed=1), path)
    with pytest.raises(UnreadableImage, match=r"part\.png has changed"):
        load_known(path, sha256, 16)
