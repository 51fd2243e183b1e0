import logging
from pathlib import Path

import numpy as np
import pytest

from patchcore.config.params import Params
from patchcore.extraction.extractor import open_extractor
from patchcore.extraction.runtimes.openvino import Graph
from patchcore.extraction.runtimes.openvino_cache import cached_graph

GRAPH = Graph(b"<net/>", bytes(range(100)))


def convert() -> Graph:
    return GRAPH


def never() -> Graph:
    raise AssertionError("it is in the cache")


def test_a_graph_is_converted_once(tmp_path: Path) -> None:
    assert cached_graph(tmp_path, "a" * 64, convert) == GRAPH
    assert cached_graph(tmp_path, "a" * 64, never) == GRAPH
    with pytest.raises(AssertionError):
        cached_graph(tmp_path, "b" * 64, never)  # another extractor


@pytest.mark.parametrize("name", ["graph.xml", "graph.bin", "digests.json"])
@pytest.mark.parametrize("how", ["flipped", "truncated", "gone"])
def test_a_damaged_graph_is_converted_again(tmp_path: Path, name: str, how: str) -> None:
    cached_graph(tmp_path, "a" * 64, convert)
    file = next(tmp_path.rglob(name))
    content = file.read_bytes()
    if how == "gone":
        file.unlink()
    else:
        file.write_bytes(content[:-5] if how == "truncated" else b"#" + content[1:])
    with pytest.raises(AssertionError):
        cached_graph(tmp_path, "a" * 64, never)
    assert cached_graph(tmp_path, "a" * 64, convert) == GRAPH
    assert file.read_bytes() == content


def test_a_cache_that_cannot_be_written_costs_time_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "graphs").write_text("a file where the folder should be")
    with caplog.at_level(logging.WARNING):
        assert cached_graph(tmp_path, "a" * 64, convert) == GRAPH
    assert str(tmp_path) in caplog.text


def test_a_kept_network_gives_the_same_bytes(small_params: Params, tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 96, 96, 3), dtype=np.uint8)
    features = [open_extractor(small_params.extract, cache=tmp_path).network(images) for _ in range(2)]
    np.testing.assert_array_equal(features[0], features[1])
    (kept,) = (tmp_path / "graphs").iterdir()
    assert kept.name == open_extractor(small_params.extract).fingerprint
