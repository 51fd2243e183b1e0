"""The data-set version of a category: every image with its sha256, so that equal content is an equal version."""

import hashlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from patchcore import files
from patchcore.errors import Refused
from patchcore.images import list_images
from patchcore.layout import Workspace

GOOD = "good"


@dataclass(frozen=True)
class ImageEntry:
    """One normal image: its posix path below the workspace and the sha256 of its bytes."""

    path: str
    sha256: str


@dataclass(frozen=True)
class EvaluationEntry:
    """One labelled image, with its defect mask where there is one.

    Attributes:
        path: posix, below the workspace.
        sha256: of the image's bytes.
        label: "good", or the name of the defect's folder.
        mask: posix, below the workspace; None for a good image and where a category has no masks.
        mask_sha256: of the mask's bytes.
    """

    path: str
    sha256: str
    label: str
    mask: str | None
    mask_sha256: str | None

    @property
    def defective(self) -> bool:
        """Whether the image shows a defect."""
        return self.label != GOOD


@dataclass(frozen=True)
class Manifest:
    """The content of a category at one moment; entries are in the order of their paths."""

    category: str
    normals: tuple[ImageEntry, ...]
    evaluation: tuple[EvaluationEntry, ...]

    @property
    def sha256(self) -> str:
        """The identity of the data-set version: the digest of the manifest's canonical JSON."""
        return _digest(self.to_json())

    @property
    def normals_sha256(self) -> str:
        """The digest of the normal images alone: what a bank is built from."""
        return _digest(self.to_json()["normals"])

    @property
    def evaluation_sha256(self) -> str:
        """The digest of the labelled images alone: equal where two banks were measured on the same set."""
        return _digest(self.to_json()["evaluation"])

    @property
    def has_masks(self) -> bool:
        """Whether the defective images come with masks; `scan` sees to it that all do or none does."""
        return any(entry.mask for entry in self.evaluation)

    def paths(self) -> dict[str, str]:
        """Return every image once: sha256 -> path."""
        normals = {entry.sha256: entry.path for entry in self.normals}
        return normals | {entry.sha256: entry.path for entry in self.evaluation}

    def to_json(self) -> dict[str, Any]:
        """Return the manifest as JSON values."""
        return {
            "category": self.category,
            "normals": [asdict(entry) for entry in self.normals],
            "evaluation": [asdict(entry) for entry in self.evaluation],
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        """Return the manifest that `to_json` gave.

        Raises:
            KeyError, TypeError: the value is not of that shape.
        """
        return cls(
            category=value["category"],
            normals=tuple(ImageEntry(**entry) for entry in value["normals"]),
            evaluation=tuple(EvaluationEntry(**entry) for entry in value["evaluation"]),
        )


def read_manifest(path: Path) -> Manifest:
    """Return the manifest in a file.

    Raises:
        Refused: the file is missing or is not a manifest.
    """
    try:
        return Manifest.from_json(files.read_json(path))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Refused(
            f"{path} cannot be read", got=str(error), expected="a manifest", remedy="run the validate step again"
        ) from error


def write_manifest(path: Path, manifest: Manifest) -> None:
    """Write a manifest as canonical JSON, in one step; equal manifests are equal bytes."""
    files.write_json(path, manifest.to_json())


def scan(workspace: Workspace, category: str) -> Manifest:
    """Return what a category's folder holds now; images are hashed, not decoded.

    Raises:
        Refused: the category, its normal images or its evaluation images are missing, a defect folder has no
            masks while another has some, or a file cannot be read.
    """
    folder = workspace.category(category)
    if not folder.is_dir():
        raise _missing(folder, "a folder in MVTec layout", f"add it with: patchcore add {category} FOLDER")
    normals = _images(workspace.good_normals(category), "normal images")
    evaluation = _images(workspace.evaluation(category), "labelled images, in a folder a label")
    return Manifest(
        category,
        tuple(ImageEntry(workspace.relative(path), _sha256(path)) for path in normals),
        _evaluation(workspace, category, evaluation),
    )


def _images(folder: Path, expected: str) -> list[Path]:
    images = list_images(folder)
    if not images:
        raise _missing(folder, expected, "put them there")
    return images


def _evaluation(workspace: Workspace, category: str, images: Iterable[Path]) -> tuple[EvaluationEntry, ...]:
    root = workspace.evaluation(category)
    entries = []
    for path in images:
        inside = path.relative_to(root)
        if len(inside.parts) < 2:
            raise Refused(
                f"{path} has no label",
                got=f"a file directly in {root.name}",
                expected=f"a folder for each label, {GOOD!r} for normal images",
                remedy="move it into the folder of its label",
            )
        label = inside.parts[0]
        mask = None if label == GOOD else _mask_of(workspace.ground_truth(category) / inside)
        entries.append(_entry(workspace, path, label, mask))
    _check_masks(workspace, entries)
    return tuple(entries)


def _entry(workspace: Workspace, path: Path, label: str, mask: Path | None) -> EvaluationEntry:
    return EvaluationEntry(
        workspace.relative(path),
        _sha256(path),
        label,
        workspace.relative(mask) if mask else None,
        _sha256(mask) if mask else None,
    )


def _mask_of(mirrored: Path) -> Path | None:
    """Return the mask of an image, given the image's place mirrored into ground_truth."""
    names = (f"{mirrored.stem}_mask.png", f"{mirrored.stem}.png")
    return next((mask for name in names if (mask := mirrored.with_name(name)).is_file()), None)


def _check_masks(workspace: Workspace, entries: Iterable[EvaluationEntry]) -> None:
    defective = [entry for entry in entries if entry.defective]
    without = [entry for entry in defective if entry.mask is None]
    if without and len(without) < len(defective):
        raise Refused(
            f"{workspace.root / without[0].path} has no mask",
            got=f"{len(without)} of {len(defective)} defective images without one",
            expected="a mask for each defective image, or for none",
            remedy=f"add ground_truth/{without[0].label}/{Path(without[0].path).stem}_mask.png, or remove all masks",
        )


def _sha256(path: Path) -> str:
    try:
        return files.sha256_of(path)
    except OSError as error:
        raise Refused(
            f"{path} cannot be read", got=error.strerror or str(error), expected="a file", remedy="check its rights"
        ) from error


def _digest(value: Any) -> str:
    return hashlib.sha256(files.canonical_json(value)).hexdigest()


def _missing(folder: Path, expected: str, remedy: str) -> Refused:
    got = "an empty folder" if folder.is_dir() else "no such folder"
    return Refused(f"{folder} holds no images", got=got, expected=expected, remedy=remedy)
