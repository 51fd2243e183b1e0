"""Put files in their place so that a kill at any point leaves them whole, and the next run finishes the work."""

import errno
from collections.abc import Iterable
from pathlib import Path

from patchcore._util import files
from patchcore.dataset.digests import FileDigests

_CLAIM, _STAGED = ".patchcore-taking", ".patchcore-staged"  # suffixes that only ingest uses


def claim_file(file: Path) -> Path:
    """Rename a source in the drop folder to its hidden claim, and return the claim.

    After a kill, a claim whose content is in its place was taken; any other file under the name is a new one.
    """
    claim = file.rename(file.with_name(f".{file.name}{_CLAIM}"))
    files.sync(claim.parent)
    return claim


def claims(folder: Path) -> list[Path]:
    """Return the claims below a drop folder that a killed run left; the next run continues with them."""
    return sorted(folder.rglob(f".*{_CLAIM}"))


def source_of(claim: Path) -> Path:
    """Return the path that a claim had before."""
    return claim.with_name(claim.name[1 : -len(_CLAIM)])


def return_claim(claim: Path, sha256: str, digests: FileDigests) -> None:
    """Undo a claim; another file may have come under the name meanwhile."""
    source = source_of(claim)
    claim.rename(free_place(source.parent, source.name, sha256, digests))


def free_place(folder: Path, name: str, sha256: str, digests: FileDigests) -> Path:
    """Return where a file of that name and content is or may be put: a longer name if another file has the name."""
    plain = folder / name
    places = (plain, *(plain.with_name(f"{plain.stem}-{sha256[:digits]}{plain.suffix}") for digits in (8, 64)))
    return next(place for place in places if not place.exists() or digests.of(place) == sha256)


def write_whole(place: Path, content: bytes) -> None:
    """Write a file whole under a staged name, then rename it; `remove_staged` removes what a kill leaves."""
    staged = place.with_name(f".{place.name}{_STAGED}")
    files.write_bytes(staged, content)
    staged.replace(place)
    files.sync(place.parent)


def remove_staged(folders: Iterable[Path]) -> None:
    """Remove the staged files that a killed run left."""
    for folder in folders:
        for path in folder.glob(f".*{_STAGED}*"):
            path.unlink()


def move_file(file: Path, place: Path) -> bool:
    """Rename a file, so that a program that is still writing it continues at its new place.

    Returns:
        False if only a copy is possible.
    """
    if file.is_symlink():  # a relative link has another target in another folder
        return False
    try:
        file.replace(place)
    except OSError as error:
        if error.errno != errno.EXDEV:  # another file system
            raise
        return False
    files.sync(place.parent)
    files.sync(file.parent)
    return True
