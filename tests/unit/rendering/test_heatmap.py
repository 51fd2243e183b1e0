from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from patchcore.rendering.heatmap import Tile, contact_sheet, most_anomalous, overlay, write_image

GREY = np.full((32, 32, 3), 128, dtype=np.uint8)


def tile(score: float, name: str = "a.png") -> Tile:
    return Tile(GREY, name, score, p_value=0.01, anomalous=score > 2)


def test_an_image_far_below_the_threshold_is_left_as_it_is() -> None:
    np.testing.assert_array_equal(overlay(GREY, np.full((32, 32), 0.69, np.float32), 1.0), GREY)


def test_it_turns_from_yellow_to_red_where_the_score_is_high() -> None:
    levels = np.linspace(0, 2, 32, dtype=np.float32)
    shown = overlay(GREY, np.tile(levels, (32, 1)), 1.0).astype(int)
    assert shown.shape == (32, 32, 3)
    assert overlay(GREY, np.zeros((32, 32), np.float32), 1.0).dtype == np.uint8
    redness = shown[0, :, 0] - shown[0, :, 1]
    assert (redness[levels < 0.7] == 0).all()
    assert (np.diff(shown[0, levels > 0.9, 1]) <= 0).all()  # the less green, the redder
    assert redness[-1] > 50
    np.testing.assert_array_equal(shown[0, levels > 1.41], np.broadcast_to(shown[0, -1], shown[0, levels > 1.41].shape))


def test_the_colours_are_those_of_the_map_that_matplotlib_calls_ylorrd() -> None:
    from matplotlib import colormaps

    levels = np.linspace(0.81, 1.39, 32, dtype=np.float32)
    share = (levels - 0.8) / 0.6
    colours = np.asarray(colormaps["YlOrRd"](share * 0.8 + 0.2))[:, :3] * 255
    weight = np.minimum(share * 4, 1)[:, None] * 0.6
    expected = GREY[0] * (1 - weight) + colours * weight
    shown = overlay(GREY, np.tile(levels, (32, 1)), 1.0)[0]
    assert np.abs(shown - expected).max() < 2.5  # its table has 256 steps


def test_a_colour_hangs_on_the_threshold_not_on_the_image() -> None:
    hot = np.zeros((32, 32), np.float32)
    hot[10, 10] = 1.2
    hotter = hot.copy()
    hotter[20, 20] = 50
    np.testing.assert_array_equal(overlay(GREY, hot, 1.0)[10, 10], overlay(GREY, hotter, 1.0)[10, 10])
    np.testing.assert_array_equal(overlay(GREY, hot * 7, 7.0), overlay(GREY, hot, 1.0))


def test_a_threshold_of_0_is_borne() -> None:
    assert overlay(GREY, np.zeros((32, 32), np.float32), 0.0).shape == (32, 32, 3)


def test_a_picture_is_written_as_it_is(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    write_image(tmp_path / "a/b.png", pixels)
    with Image.open(tmp_path / "a/b.png") as image:
        assert image.format == "PNG"
        np.testing.assert_array_equal(np.asarray(image), pixels)


def test_the_most_anomalous_come_first_ties_by_name() -> None:
    tiles = [tile(1, "b"), tile(3, "c"), tile(1, "a"), tile(2, "d")]
    assert [shown.name for shown in most_anomalous(tiles)] == ["c", "d", "a", "b"]
    assert [shown.name for shown in most_anomalous(tiles, 2)] == ["c", "d"]
    assert len(most_anomalous(tiles * 30)) == 60


@pytest.mark.parametrize(("count", "columns", "rows"), [(1, 3, 1), (6, 6, 1), (7, 6, 2), (200, 6, 10)])
def test_a_sheet_has_room_for_its_tiles(count: int, columns: int, rows: int) -> None:
    sheet = contact_sheet([tile(number) for number in range(count)], "batch 1")
    assert sheet.dtype == np.uint8
    assert sheet.shape == (40 + rows * (224 + 34 + 8) + 8, columns * (224 + 8) + 8, 3)


def test_the_frame_says_the_verdict() -> None:
    sheet = contact_sheet([tile(3), tile(1)], "batch 1")
    top = 40
    assert tuple(sheet[top, 8]) == (200, 30, 30)  # the anomalous one, first
    assert tuple(sheet[top, 8 + 232]) == (30, 130, 60)
    assert (sheet[top + 100, 100] == 128).all()  # the picture itself
