"""A cache of facts about images by their sha256: the facts depend on the bytes and on the code alone."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from patchcore._util.progress import Advance
from patchcore.images.facts import ImageFacts, describe_all
from patchcore.steps.cache import read_arrays, write_arrays
from patchcore.steps.fingerprint import fingerprint_of


class File(NamedTuple):
    """A file, and the sha256 of its bytes when it was listed."""

    path: Path
    sha256: str


def facts_of(cache: Path, files: Sequence[File], advance: Advance | None = None) -> list[ImageFacts]:
    """Return the facts about files, in their order; files of known content are not read.

    Args:
        cache: The file that keeps the facts; facts about other files are dropped from it.
        files: The files.
        advance: Called with the number of files done so far.

    Raises:
        UnreadableImage: The bytes of a file cannot be read.
    """
    known = _read(cache)
    unknown = [file.path for file in files if file.sha256 not in known]
    done = len(files) - len(unknown)
    if advance and done:
        advance(done)
    fresh = iter(describe_all(unknown, (lambda number: advance(done + number)) if advance else None))
    found = [known.get(file.sha256) or next(fresh) for file in files]
    if unknown:
        _write(cache, found)
    return found


def _read(cache: Path) -> Mapping[str, ImageFacts]:
    arrays = read_arrays(cache)
    if arrays is None or bytes(arrays["code"]).decode() != fingerprint_of(describe_all.__module__).sha256:
        return {}
    values = json.loads(bytes(arrays["facts"]))
    return {
        value["sha256"]: ImageFacts(**value, thumbnail=thumbnail)
        for value, thumbnail in zip(values, arrays["thumbnails"], strict=True)
    }


def _write(cache: Path, found: Sequence[ImageFacts]) -> None:
    kept = {facts.sha256: facts for facts in found if facts.thumbnail is not None}
    if not kept:
        return
    values = [dataclasses.asdict(facts) for facts in kept.values()]
    thumbnails = np.stack([value.pop("thumbnail") for value in values])  # (B, 64, 64)
    texts = {"code": fingerprint_of(describe_all.__module__).sha256, "facts": json.dumps(values)}
    as_bytes = {name: np.frombuffer(text.encode(), dtype=np.uint8) for name, text in texts.items()}
    write_arrays(cache, {**as_bytes, "thumbnails": thumbnails})
