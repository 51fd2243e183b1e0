import json
from pathlib import Path

import pytest

from patchcore.config.params import Params
from patchcore.dataset.arrivals import Arrivals, cover_digest, grouped, read_arrivals, record_arrivals
from patchcore.errors import Refused


def with_build(params: Params, **changes: object) -> Params:
    return params.model_copy(update={"build": params.build.model_copy(update=changes)})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "part" / "arrivals.json"


def groups(path: Path) -> list[list[str]]:
    found: list[list[str]] = json.loads(path.read_text())["groups"]
    return found


def test_each_record_adds_what_came_since_the_last(path: Path, small_params: Params) -> None:
    assert record_arrivals(path, ["b", "a"], small_params)
    assert record_arrivals(path, ["a", "b", "d", "c"], small_params)
    assert record_arrivals(path, ["a", "0", "b", "c", "d"], small_params)
    assert groups(path) == [["a", "b"], ["c", "d"], ["0"]]
    assert read_arrivals(path) == Arrivals(cover_digest(small_params), (("a", "b"), ("c", "d"), ("0",)))


def test_nothing_new_leaves_the_file_alone(path: Path, small_params: Params) -> None:
    record_arrivals(path, ["a", "b"], small_params)
    before = path.stat().st_mtime_ns, path.stat().st_ino
    assert not record_arrivals(path, ["b", "a"], small_params)
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == before


def test_unrecorded_images_are_the_last_group(path: Path, small_params: Params) -> None:
    record_arrivals(path, ["a", "b"], small_params)
    found = read_arrivals(path)
    assert grouped(found, ["z", "a", "b", "c"], small_params) == (("a", "b"), ("c", "z"))
    assert groups(path) == [["a", "b"]]  # only looked at


def test_without_a_record_all_images_are_one_group(path: Path, small_params: Params) -> None:
    assert read_arrivals(path) is None
    assert grouped(None, ["b", "a"], small_params) == (("a", "b"),)


def test_a_recorded_image_that_is_gone_makes_one_group_of_all(path: Path, small_params: Params) -> None:
    record_arrivals(path, ["a", "b"], small_params)
    record_arrivals(path, ["a", "b", "c"], small_params)
    assert grouped(read_arrivals(path), ["a", "c", "d"], small_params) == (("a", "c", "d"),)
    record_arrivals(path, ["a", "c", "d"], small_params)
    assert groups(path) == [["a", "c", "d"]]


@pytest.mark.parametrize(
    "changes",
    [{"coreset_ratio": 0.2}, {"seed": 1}, {"held_out_share": 0.3}, {"rows_at_most": 9}, {"neighbours": 9}],
    ids=lambda changes: str(*changes),
)
def test_parameters_that_choose_patches_make_one_group_of_all(
    path: Path, small_params: Params, changes: dict[str, object]
) -> None:
    record_arrivals(path, ["a"], small_params)
    record_arrivals(path, ["a", "b"], small_params)
    assert grouped(read_arrivals(path), ["a", "b"], with_build(small_params, **changes)) == (("a", "b"),)


def test_so_do_those_of_the_extractor(path: Path, small_params: Params) -> None:
    record_arrivals(path, ["a"], small_params)
    record_arrivals(path, ["a", "b"], small_params)
    extract = small_params.extract.model_copy(update={"pool": 5})
    other = small_params.model_copy(update={"extract": extract})
    assert grouped(read_arrivals(path), ["a", "b"], other) == (("a", "b"),)


@pytest.mark.parametrize("changes", [{"false_alarm_rate": 0.2}, {"smoothing_sigma": 1.0}], ids=str)
def test_parameters_that_choose_no_patches_keep_the_groups(
    path: Path, small_params: Params, changes: dict[str, object]
) -> None:
    record_arrivals(path, ["a"], small_params)
    record_arrivals(path, ["a", "b"], small_params)
    assert grouped(read_arrivals(path), ["a", "b"], with_build(small_params, **changes)) == (("a",), ("b",))


@pytest.mark.parametrize("changes", [{"incremental": False}, {"projection_dimension": 32}], ids=str)
def test_where_banks_do_not_grow_there_is_always_one_group(
    path: Path, small_params: Params, changes: dict[str, object]
) -> None:
    params = with_build(small_params, **changes)
    record_arrivals(path, ["a"], params)
    record_arrivals(path, ["a", "b"], params)
    assert groups(path) == [["a", "b"]]


def test_a_record_can_be_begun_anew(path: Path, small_params: Params) -> None:
    record_arrivals(path, ["a"], small_params)
    record_arrivals(path, ["a", "b"], small_params)
    assert record_arrivals(path, ["a", "b"], small_params, anew=True)
    assert groups(path) == [["a", "b"]]


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        '{"groups": [["a"]]}',
        '{"cover": "0", "groups": [["a"], ["b", "a"]]}',
        '{"cover": "0", "groups": [["a"], []]}',
        '{"cover": "0", "groups": 3}',
    ],
)
def test_a_damaged_record_is_refused_and_can_be_replaced(path: Path, small_params: Params, content: str) -> None:
    path.parent.mkdir()
    path.write_text(content)
    with pytest.raises(Refused, match=r"arrivals\.json cannot be read"):
        record_arrivals(path, ["a"], small_params)
    assert path.read_text() == content
    assert record_arrivals(path, ["a"], small_params, anew=True)
