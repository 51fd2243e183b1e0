"""Converted networks on disk, by the fingerprint of their extractor: reading one saves a conversion of seconds.

    <folder>/graphs/<fingerprint>/graph.xml, graph.bin     OpenVINO's own format; nothing in it is code
    <folder>/graphs/<fingerprint>/digests.json             the sha256 of both

A network that is missing or damaged is converted again. A folder that cannot be written costs only time.
"""

import hashlib
import logging
from collections.abc import Callable
from pathlib import Path

from patchcore._util.files import canonical_json, new_folder, read_json
from patchcore.extraction.runtimes.openvino import Graph

_XML, _CONSTANTS, _DIGESTS = "graph.xml", "graph.bin", "digests.json"
_log = logging.getLogger(__name__)


def cached_graph(folder: Path, fingerprint: str, convert: Callable[[], Graph]) -> Graph:
    """Return a converted network, from the cache if it is there and undamaged.

    Args:
        folder: the folder of the cache.
        fingerprint: the extractor's fingerprint, 64 hexadecimal digits; it covers all that the graph depends on.
        convert: makes the graph if the cache does not have it.
    """
    place = folder / "graphs" / fingerprint
    if (graph := _read(place)) is not None:
        return graph
    graph = convert()
    try:
        _write(place, graph)
    except OSError as error:
        _log.warning("the converted network is not kept in %s: %s", place, error)
    return graph


def _read(place: Path) -> Graph | None:
    try:
        graph = Graph((place / _XML).read_bytes(), (place / _CONSTANTS).read_bytes())
        whole = read_json(place / _DIGESTS) == _digests(graph)
    except (OSError, ValueError):
        return None
    if not whole:
        _log.warning("the converted network in %s is damaged: it is made again", place)
    return graph if whole else None


def _write(place: Path, graph: Graph) -> None:
    with new_folder(place) as temporary:
        (temporary / _XML).write_bytes(graph.xml)
        (temporary / _CONSTANTS).write_bytes(graph.constants)
        (temporary / _DIGESTS).write_bytes(canonical_json(_digests(graph)))


def _digests(graph: Graph) -> dict[str, str]:
    return {
        _XML: hashlib.sha256(graph.xml).hexdigest(),
        _CONSTANTS: hashlib.sha256(graph.constants).hexdigest(),
    }
