import fcntl
import os
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from benchmarks import common, growth
from benchmarks.peers import Peer, in_peer
from patchcore.images.decoding import load_rgb

_SCRIPT = """
import json, sys
from benchmarks.peers import serve

def double(number):
    print("a library that talks")
    return {"doubled": 2 * number}

if len(sys.argv) > 1:
    print("a library that talks")
    print(json.dumps(double(**json.loads(sys.argv[1]))))
else:
    serve({"double": double})
"""


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATCHCORE_PEER", sys.executable)
    path = tmp_path / "script.py"
    path.write_text(_SCRIPT)
    return path


def test_a_script_of_the_peers_environment_answers_with_its_last_line(script: Path) -> None:
    assert in_peer(script, {"number": 21}) == {"doubled": 42}


def test_a_peer_that_stays_answers_every_call_whatever_its_libraries_print(script: Path) -> None:
    with Peer(script) as peer:
        assert [peer.call("double", number=number) for number in (1, 2)] == [{"doubled": 2}, {"doubled": 4}]


def test_a_peer_that_fails_is_reported(script: Path) -> None:
    with Peer(script) as peer, pytest.raises(RuntimeError, match="during triple"):
        peer.call("triple", number=1)


def test_sides_take_turns_and_the_first_turn_does_not_count() -> None:
    turns = []
    seconds = {"ours": iter([100.0, 3.0, 1.0, 2.0]), "theirs": iter([0.0, 5.0, 5.0, 7.0])}

    def side(name: str) -> float:
        turns.append(name)
        return next(seconds[name])

    found = common.interleaved({name: partial(side, name) for name in seconds}, rounds=3)

    assert found == {"ours": 2.0, "theirs": 5.0}
    assert turns == ["ours", "theirs"] * 4


def _hold(megabytes: int) -> int:
    return int(np.ones((megabytes, 2**20), dtype=np.uint8).sum(dtype=np.int64))


def test_the_memory_of_a_child_is_its_own() -> None:
    here = np.ones((400, 2**20), dtype=np.uint8)  # not to be counted

    small, large = common.in_child(_hold, 1), common.in_child(_hold, 200)

    assert large.result == 200 * 2**20
    assert 150 * 2**20 < large.peak - small.peak < 250 * 2**20
    assert small.peak < here.nbytes + 100 * 2**20


def test_a_table_shows_three_digits_that_say_something() -> None:
    table = common.Table("Speed", "what", "images/s")
    table.add("ours", 12345.678)
    table.add("theirs", 0.0123456)

    assert "| what | images/s |\n| --- | --- |\n| ours | 12,346 |\n| theirs | 0.0123 |" in str(table)
    with pytest.raises(ValueError, match="expected 2"):
        table.add("alone")


def test_solar_cells_are_normal_or_defective_never_both() -> None:
    normal, defective = common.solar_cells("mono"), common.solar_cells("mono", defective=True)

    assert (len(normal), len(defective)) == (588, 313)
    assert not set(normal) & set(defective)
    assert common.solar_cells("mono", seed=1) != normal


def test_a_grown_data_set_repeats_itself_and_no_image_twice(tmp_path: Path) -> None:
    real, sets = common.solar_cells("mono")[:3], []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        sets.append([path.read_bytes() for path in growth.grow(tmp_path / name, real, 8, seed=3)])

    assert sets[0] == sets[1]
    assert len(set(sets[0])) == 8
    assert load_rgb(tmp_path / "first" / "images" / "00007.png", 224).std() > 1


def _measure_again() -> str:
    if not (name := os.environ.get("PATCHCORE_BENCHMARK_LOCK", "")):  # else this would wait for ever
        common.timed(lambda: None, rounds=1)
    return name


def test_what_is_measured_alone_may_measure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATCHCORE_BENCHMARK_LOCK", str(tmp_path / "lock"))

    assert common.in_child(_measure_again).result == ""
    with common.alone(), (tmp_path / "lock").open() as held:
        assert _measure_again() == ""
        with pytest.raises(BlockingIOError):
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert os.environ["PATCHCORE_BENCHMARK_LOCK"] == str(tmp_path / "lock")


def test_the_law_is_fitted_where_constants_weigh_little() -> None:
    points = [growth.Point(images, 0.0, 0, 0) for images in (10, 100, 1000, 10000)]

    assert growth.exponent(points, [5.0, 5.0, 2e6, 2e8]) == pytest.approx(2.0)
