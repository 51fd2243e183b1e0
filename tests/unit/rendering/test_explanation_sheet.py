import numpy as np
import pytest

from patchcore.bank.explanation import Patch
from patchcore.rendering.explanation_sheet import Pixels, Shown, explanation_sheet

DEFECT, NORMAL = np.array((214, 39, 40)), np.array((30, 130, 60))
GRID = (10, 10)


def picture(width: int, height: int, level: int) -> Pixels:
    return np.full((height, width, 3), level, dtype=np.uint8)


def sheet(image: Shown, normal: Shown | None) -> Pixels:
    return explanation_sheet(image, normal, np.zeros((96, 96), np.float32), 1.0, 2.5, ["one fact"])


def extent(pixels: Pixels, colour: Pixels, rows: slice, columns: slice) -> tuple[int, int]:
    """Return height and width of what is drawn in a colour in a part of a sheet."""
    y, x = np.nonzero((pixels[rows, columns] == colour).all(axis=2))
    return int(np.ptp(y)) + 1, int(np.ptp(x)) + 1


@pytest.mark.parametrize("patch", [Patch(0, 0, GRID), Patch(5, 4, GRID), Patch(9, 9, GRID)])
def test_boxes_of_equal_patches_are_equally_large_wherever_they_are(patch: Patch) -> None:
    pixels = sheet(Shown(picture(300, 300, 90), patch, "a"), Shown(picture(300, 300, 90), Patch(5, 5, GRID), "b"))
    columns = [slice(24, 424), slice(872, 1272)]
    for rows in (slice(102, 502), slice(556, 956)):  # the images, the magnified parts
        box, other = extent(pixels, DEFECT, rows, columns[0]), extent(pixels, NORMAL, rows, columns[1])
        assert max(abs(a - b) for a, b in zip(box, other, strict=True)) <= 4  # at the edge the lines move inside


def test_images_of_two_sizes_are_shown_at_one_scale() -> None:
    small, large = picture(100, 100, 60), picture(200, 200, 120)
    pixels = sheet(Shown(small, Patch(5, 5, GRID), "a"), Shown(large, Patch(5, 5, GRID), "b"))
    widths = [int((pixels[:480] == level).all(axis=2).any(axis=0).sum()) for level in (60, 120)]
    assert widths[1] == pytest.approx(2 * widths[0] / 2, abs=4)  # the small one stands in two columns


def test_a_long_name_and_a_wide_image_fit() -> None:
    image = Shown(picture(400, 100, 90), Patch(3, 3, (4, 4)), "x" * 200)
    assert sheet(image, Shown(picture(400, 100, 90), Patch(0, 0, (4, 4)), "y" * 200)).shape[1] == 24 + 3 * 424


def test_without_a_normal_image_there_are_two_columns() -> None:
    pixels = sheet(Shown(picture(300, 300, 90), Patch(5, 5, GRID), "a"), None)
    assert pixels.shape[1] == 24 + 2 * 424
    assert not (pixels == NORMAL).all(axis=2).any()
