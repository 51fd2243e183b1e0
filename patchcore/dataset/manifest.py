"""The data-set version of a category: every image with its sha256, so that equal content is an equal version."""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from patchcore._util import files
from patchcore.config.workspace import Workspace
from patchcore.errors import Refused
from patchcore.images.decoding import list_images

GOOD = "good"
NOTE = "README.txt"  # in ground_truth: why there are no masks
_MASK_SUFFIXES = (".png", ".bmp", ".tif", ".tiff")  # no JPEG: it blurs the edge of a defect


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
        Refused: the category, its normal images or its evaluation images are missing, labels and masks do not
            belong together (see `pair_masks`), or a file cannot be read.
    """
    folder = workspace.category(category)
    if not folder.is_dir():
        raise _missing(folder, "a folder in MVTec layout", f"add it with: patchcore add {category} FOLDER")
    normals = normal_images(workspace, category)
    if not normals:
        raise _missing(workspace.good_normals(category), "normal images", "put them there")
    pairs = pair_masks(workspace.evaluation(category), workspace.ground_truth(category))
    if not pairs:
        raise _missing(workspace.evaluation(category), "labelled images, in a folder a label", "put them there")
    return Manifest(
        category,
        normals,
        tuple(_entry(workspace, category, image, mask) for image, mask in pairs.items()),
    )


def normal_images(workspace: Workspace, category: str) -> tuple[ImageEntry, ...]:
    """Return the normal images that a category's folder holds now, in the order of their paths.

    Raises:
        Refused: a file cannot be read.
    """
    paths = list_images(workspace.good_normals(category))
    return tuple(ImageEntry(workspace.relative(path), _sha256(path)) for path in paths)


def pair_masks(evaluation: Path, ground_truth: Path) -> dict[Path, Path | None]:
    """Return each labelled image with the mask of its defect; None for a good image, and where there are no masks.

    The mask of evaluation/crack/7.jpg is ground_truth/crack/7_mask.png or 7.png; .bmp, .tif and .tiff will do too.

    Args:
        evaluation: folder with a folder for each label.
        ground_truth: folder with a folder for each defect; it need not exist.

    Raises:
        Refused: an image has no label, only some of the defective images have a mask, or a file is the mask of none.
    """
    images = list_images(evaluation)
    if not images:
        return {}  # what is missing first of all is not a mask's image
    masks = {path.relative_to(ground_truth): path for path in list_images(ground_truth) if path.name != NOTE}
    pairs: dict[Path, Path | None] = {}
    for image in images:
        inside = image.relative_to(evaluation)
        _require_label(image, inside)
        name = next((name for name in _mask_names(inside) if name in masks), None)
        pairs[image] = None if name is None or inside.parts[0] == GOOD else masks[name]
    defective = {image: mask for image, mask in pairs.items() if image.relative_to(evaluation).parts[0] != GOOD}
    missing = [image.relative_to(evaluation) for image, mask in defective.items() if mask is None]
    if defective:  # without any, validation says the more telling: no defective images
        _require_owners(set(masks.values()) - set(pairs.values()), missing)
    if missing and len(missing) < len(defective):
        raise _no_mask(evaluation / missing[0], f"{len(missing)} of {len(defective)}", _mask_names(missing[0])[0])
    return pairs


def _entry(workspace: Workspace, category: str, image: Path, mask: Path | None) -> EvaluationEntry:
    return EvaluationEntry(
        workspace.relative(image),
        _sha256(image),
        image.relative_to(workspace.evaluation(category)).parts[0],
        workspace.relative(mask) if mask else None,
        _sha256(mask) if mask else None,
    )


def _mask_names(inside: Path) -> list[Path]:
    """Return what the mask of an image may be called, below ground_truth, given the image's place below test."""
    return [inside.with_name(f"{inside.stem}{end}{suffix}") for end in ("_mask", "") for suffix in _MASK_SUFFIXES]


def _require_label(image: Path, inside: Path) -> None:
    if len(inside.parts) < 2:
        raise Refused(
            f"{image} has no label",
            got=f"a file directly in {image.parent.name}",
            expected=f"a folder for each label, {GOOD!r} for normal images",
            remedy="move it into the folder of its label",
        )


def _require_owners(strangers: set[Path], missing: Sequence[Path]) -> None:
    """Refuse masks that belong to no image: overlooked, they would turn pixel metrics off in silence."""
    if not strangers:
        return
    first = min(strangers)
    more = f" (and {len(strangers) - 1} more)" if len(strangers) > 1 else ""
    beside = [image for image in missing if image.parent.name == first.parent.name] or missing
    wanted = f"ground_truth/{_mask_names(beside[0])[0].as_posix()} for test/{beside[0].as_posix()}" if beside else ""
    raise Refused(
        f"{first} is the mask of no defective image{more}",
        got=first.name,
        expected=wanted or "one mask for each image in test, none for good ones",
        remedy="rename it, or take it away",
    )


def _no_mask(image: Path, count: str, name: Path) -> Refused:
    return Refused(
        f"{image} has no mask",
        got=f"{count} defective images without one",
        expected="a mask for each defective image, or for none",
        remedy=f"add ground_truth/{name.as_posix()}, or remove all masks",
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
