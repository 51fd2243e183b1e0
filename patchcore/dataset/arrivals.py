"""The order in which a category's normal images arrived: the groups by which a bank grows.

A small JSON file beside the images, kept by git: {"cover": sha256, "groups": [[sha256 of an image, ...], ...]}. The
first group is what `patchcore add` took; each ingest that took images adds one. A bank depends on this order (each
group is selected against the cover of the groups before it), so the order is a file: the build stage is a function of
files alone. `cover` is the digest of the parameters that decide which patches a bank holds. Under other parameters the
groups have no meaning, and all images form one group.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from patchcore._util.files import canonical_json, read_json, write_json
from patchcore.config.params import Params
from patchcore.errors import DataMissing, Refused

# The choice of patches depends on all parameters of `extract` but these, and on these of `build` alone.
_WITHOUT_EFFECT = {"parity_images"}
_COVER = (
    "coreset_ratio",
    "rows_at_most",
    "projection_dimension",
    "held_out_share",
    "neighbours",
    "seed",
    "incremental",
)

Groups = tuple[tuple[str, ...], ...]
"""The sha256 of each image, in groups; the group that arrived first comes first."""


@dataclass(frozen=True)
class Arrivals:
    """The arrivals file of a category.

    Attributes:
        cover: Digest of the parameters under which the groups were recorded; see `cover_digest`.
        groups: Sha256 of each normal image; the group that arrived first comes first.
    """

    cover: str
    groups: Groups


def cover_digest(params: Params) -> str:
    """Return the sha256 of the parameters that decide which patches of given images a bank holds, 64 hex digits."""
    values = {
        "extract": params.extract.model_dump(mode="json", exclude=_WITHOUT_EFFECT),
        "build": params.build.model_dump(mode="json", include=set(_COVER)),
    }
    return hashlib.sha256(canonical_json(values)).hexdigest()


def grouped(arrivals: Arrivals | None, present: Iterable[str], params: Params) -> Groups:
    """Return the present normal images in the groups by which a bank grows, each group sorted.

    Images that are not recorded form one last group. All images are one group if there is no record, a recorded image
    is gone, the record was made under other parameters, or params.yaml turns growing off.

    Args:
        arrivals: The record; None if there is none.
        present: Sha256 of the images that the category holds now.
        params: The present parameters.

    Example:
        >>> params = Params()
        >>> arrivals = Arrivals(cover_digest(params), (("b",), ("a",)))
        >>> grouped(arrivals, ["a", "b", "c"], params), grouped(arrivals, ["a", "c"], params)
        ((('b',), ('a',), ('c',)), (('a', 'c'),))
    """
    images = set(present)
    recorded = arrivals.groups if arrivals else ()
    known = {sha256 for group in recorded for sha256 in group}
    # Each selection draws its own projection: distances under two projections cannot be compared.
    grows = params.build.incremental and params.build.projection_dimension is None
    if not grows or arrivals is None or arrivals.cover != cover_digest(params) or not known <= images:
        return (tuple(sorted(images)),)
    rest = tuple(sorted(images - known))
    return (*recorded, rest) if rest else recorded


def read_arrivals(path: Path) -> Arrivals | None:
    """Return the record in a file; None if there is no file.

    Raises:
        DataMissing: The file is damaged, or names an image twice.
    """
    try:
        value = read_json(path)
        found = Arrivals(str(value["cover"]), tuple(tuple(sorted(map(str, group))) for group in value["groups"]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _damaged(path, str(error)) from error
    images = [sha256 for group in found.groups for sha256 in group]
    if len(images) != len(set(images)) or not all(found.groups):
        raise _damaged(path, "an image in two places, or an empty group")
    return found


def record_arrivals(path: Path, present: Iterable[str], params: Params, *, anew: bool = False) -> bool:
    """Bring the record up to date with the images that are there, and return whether it changed.

    Args:
        path: The file.
        present: Sha256 of the images that the category holds now.
        params: The present parameters.
        anew: Forget the order: all images become one group, and the next bank is built from nothing.

    Raises:
        DataMissing: The file is damaged.
    """
    before = None if anew else read_arrivals(path)
    after = {"cover": cover_digest(params), "groups": [list(group) for group in grouped(before, present, params)]}
    if path.is_file() and path.read_bytes() == canonical_json(after):
        return False
    write_json(path, after)
    return True


def _damaged(path: Path, got: str) -> Refused:
    return DataMissing(
        f"{path} cannot be read", got, "groups of images, each image once", "delete it: the next retrain starts anew"
    )
