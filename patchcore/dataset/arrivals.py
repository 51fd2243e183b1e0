"""In which order a category's normal images came: the groups that a bank is grown by.

A small file beside the images, kept by git, {"cover": sha256, "groups": [[sha256 of an image, ...], ...]}: the first
group is what `patchcore add` took, each ingest that took images is one more. A bank depends on this order, so it has to
be a file: the build stage is a function of files alone. `cover` names the parameters that decide which patches a bank
holds; under others the groups mean nothing, and the images are one group.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from patchcore._util.files import canonical_json, read_json, write_json
from patchcore.config.params import Params
from patchcore.errors import Refused

# What the choice of patches does not depend on: of the extractor's parameters, and those of the build that it does.
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


@dataclass(frozen=True)
class Arrivals:
    """The record of a category.

    Attributes:
        cover: digest of the parameters that the groups were recorded under; see `cover_digest`.
        groups: sha256 of each normal image, the group that came first in front.
    """

    cover: str
    groups: Groups


def cover_digest(params: Params) -> str:
    """Return the sha256 of the parameters that decide which patches of given images a bank holds."""
    values = {
        "extract": params.extract.model_dump(mode="json", exclude=_WITHOUT_EFFECT),
        "build": params.build.model_dump(mode="json", include=set(_COVER)),
    }
    return hashlib.sha256(canonical_json(values)).hexdigest()


def grouped(arrivals: Arrivals | None, present: Iterable[str], params: Params) -> Groups:
    """Return the present normal images in the groups that a bank is grown by, each group sorted.

    Images that are not recorded form one last group. All images are one group where there is no record, a recorded
    image is gone, the record was made under other parameters, or params.yaml says not to grow banks.

    Args:
        arrivals: the record; None where there is none.
        present: sha256 of the images that the category holds now.
        params: the present parameters.
    """
    images = set(present)
    recorded = arrivals.groups if arrivals else ()
    known = {sha256 for group in recorded for sha256 in group}
    # A projection is drawn anew for each selection: distances under two of them cannot be compared.
    grows = params.build.incremental and params.build.projection_dimension is None
    if not grows or arrivals is None or arrivals.cover != cover_digest(params) or not known <= images:
        return (tuple(sorted(images)),)
    rest = tuple(sorted(images - known))
    return (*recorded, rest) if rest else recorded


def read_arrivals(path: Path) -> Arrivals | None:
    """Return the record in a file; None where there is no file.

    Raises:
        Refused: the file is damaged, or names an image twice.
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
        path: the file.
        present: sha256 of the images that the category holds now.
        params: the present parameters.
        anew: forget the order: all images become one group, and the next bank is built from nothing.

    Raises:
        Refused: the file is damaged.
    """
    before = None if anew else read_arrivals(path)
    after = {"cover": cover_digest(params), "groups": [list(group) for group in grouped(before, present, params)]}
    if path.is_file() and path.read_bytes() == canonical_json(after):
        return False
    write_json(path, after)
    return True


def _damaged(path: Path, got: str) -> Refused:
    return Refused(
        f"{path} cannot be read", got, "groups of images, each image once", "delete it: the next retrain starts anew"
    )
