"""The data-set version of a category: every image with its sha256, so that equal content is an equal version.

The manifest is a JSON file, {"category", "normals": [{"path", "sha256"}], "evaluation": [{"path", "sha256", "label",
"mask", "mask_sha256"}]}. Its canonical form (sorted keys, two spaces, UTF-8, a newline at the end; see
`patchcore._util.files.canonical_json`) is what its sha256 is taken of, and that names the data-set version. Paths are
posix and relative to the workspace; each sha256 is 64 hexadecimal digits.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from patchcore._util import files
from patchcore.config.workspace import Workspace
from patchcore.dataset.digests import FileDigests
from patchcore.errors import DataMissing, InvalidLayout, NoImages, Refused, UnreadableImage
from patchcore.images.decoding import list_images

GOOD = "good"
NOTE = "README.txt"
NO_MASKS = "This category has no masks: pixel metrics are not measured.\n"
"""A file in ground_truth that says why there are no masks; it is not a mask."""
_MASK_SUFFIXES = (".png", ".bmp", ".tif", ".tiff")  # no JPEG: it blurs the edge of a defect


@dataclass(frozen=True)
class ImageEntry:
    """One normal image.

    Attributes:
        path: Posix, below the workspace.
        sha256: Of the image's bytes.
    """

    path: str
    sha256: str


@dataclass(frozen=True)
class EvaluationEntry:
    """One labelled image, with its defect mask where there is one.

    Attributes:
        path: Posix, below the workspace.
        sha256: Of the image's bytes.
        label: "good", or the name of the defect's folder.
        mask: Posix, below the workspace; None for a good image, and for every image of a category without masks.
        mask_sha256: Of the mask's bytes; None where there is no mask.
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
    """The content of a category at one moment.

    Attributes:
        category: The category.
        normals: The images of train/good, ordered by path.
        evaluation: The images of test, ordered by path.

    Example:
        >>> image = ImageEntry("data/part/train/good/1.png", "0" * 64)
        >>> Manifest("part", (image,), ()).sha256[:8], Manifest("part", (image,), ()).paths()["0" * 64]
        ('951c4fc8', 'data/part/train/good/1.png')
    """

    category: str
    normals: tuple[ImageEntry, ...]
    evaluation: tuple[EvaluationEntry, ...]

    @property
    def sha256(self) -> str:
        """The identity of the data-set version: the digest of the manifest's canonical JSON."""
        return _digest(self.to_json())

    @property
    def normals_sha256(self) -> str:
        """The digest of the normal images alone, from which a bank is built."""
        return _digest(self.to_json()["normals"])

    @property
    def evaluation_sha256(self) -> str:
        """The digest of the labelled images alone: banks with the same one were measured on the same images."""
        return _digest(self.to_json()["evaluation"])

    @property
    def has_masks(self) -> bool:
        """Whether the defective images have masks; `scan` makes sure that all have one or none has."""
        return any(entry.mask for entry in self.evaluation)

    def paths(self) -> dict[str, str]:
        """Return the path of every image by its sha256; of images with equal content, one path."""
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
            KeyError, TypeError: The value does not have that shape.
        """
        return cls(
            category=value["category"],
            normals=tuple(ImageEntry(**entry) for entry in value["normals"]),
            evaluation=tuple(EvaluationEntry(**entry) for entry in value["evaluation"]),
        )


def read_manifest(path: Path) -> Manifest:
    """Return the manifest in a file.

    Raises:
        DataMissing: The file is missing or is not a manifest.
    """
    try:
        return Manifest.from_json(files.read_json(path))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataMissing(
            f"{path} cannot be read", got=str(error), expected="a manifest", remedy="run the validate step again"
        ) from error


def write_manifest(path: Path, manifest: Manifest) -> None:
    """Write a manifest as canonical JSON, in one step; equal manifests are equal bytes."""
    files.write_json(path, manifest.to_json())


def scan(workspace: Workspace, category: str, digests: FileDigests | None = None) -> Manifest:
    """Return what a category's folder holds now. Images are digested, not decoded.

    Args:
        workspace: The workspace.
        category: The category.
        digests: What is known of the files already; None: every file is read.

    Raises:
        NoImages: The category, its normal images or its evaluation images are missing.
        InvalidLayout: Labels and masks do not match; see `pair_masks`.
        InvalidPath: Below the folder is something that is neither a file nor a folder.
        UnreadableImage: A file cannot be read.
    """
    digests = digests or FileDigests()
    folder = workspace.category(category)
    if not folder.is_dir():
        raise _missing(folder, "a folder in MVTec layout", f"add it with: patchcore add {category} FOLDER")
    normals = normal_images(workspace, category, digests)
    if not normals:
        raise _missing(workspace.good_normals(category), "normal images", "put them there")
    pairs = pair_masks(workspace.evaluation(category), workspace.ground_truth(category))
    if not pairs:
        raise _missing(workspace.evaluation(category), "labelled images, in a folder a label", "put them there")
    return Manifest(
        category,
        normals,
        tuple(_entry(workspace, category, image, mask, digests) for image, mask in pairs.items()),
    )


def normal_images(workspace: Workspace, category: str, digests: FileDigests | None = None) -> tuple[ImageEntry, ...]:
    """Return the normal images that a category's folder holds now, ordered by path; see `scan`.

    Raises:
        InvalidPath: Below the folder is something that is neither a file nor a folder.
        UnreadableImage: A file cannot be read.
    """
    digests = digests or FileDigests()
    paths = list_images(workspace.good_normals(category))
    return tuple(ImageEntry(workspace.relative(path), _sha256(path, digests)) for path in paths)


def pair_masks(evaluation: Path, ground_truth: Path) -> dict[Path, Path | None]:
    """Return each labelled image with the mask of its defect; None for a good image, and where there are no masks.

    The mask of evaluation/crack/7.jpg is ground_truth/crack/7_mask.png or 7.png; .bmp, .tif and .tiff work too. This
    is the layout of MVTec AD (Bergmann et al., CVPR 2019).

    Args:
        evaluation: Folder with a folder for each label.
        ground_truth: Folder with a folder for each defect; it need not exist.

    Raises:
        InvalidLayout: An image has no label, only some of the defective images have a mask, or a mask has no image.
        InvalidPath: Below the folders is something that is neither a file nor a folder.
    """
    images = list_images(evaluation)
    if not images:
        return {}  # the caller reports missing images, which matter more than masks without an image
    masks = {path.relative_to(ground_truth): path for path in list_images(ground_truth) if path.name != NOTE}
    pairs: dict[Path, Path | None] = {}
    for image in images:
        inside = image.relative_to(evaluation)
        _require_label(image, inside)
        name = next((name for name in _mask_names(inside) if name in masks), None)
        pairs[image] = None if name is None or inside.parts[0] == GOOD else masks[name]
    defective = {image: mask for image, mask in pairs.items() if image.relative_to(evaluation).parts[0] != GOOD}
    missing = [image.relative_to(evaluation) for image, mask in defective.items() if mask is None]
    if defective:  # else validation reports that there are none, a clearer error than unused masks
        _require_owners(set(masks.values()) - set(pairs.values()), missing)
    if missing and len(missing) < len(defective):
        raise _no_mask(evaluation / missing[0], f"{len(missing)} of {len(defective)}", _mask_names(missing[0])[0])
    return pairs


def _entry(
    workspace: Workspace, category: str, image: Path, mask: Path | None, digests: FileDigests
) -> EvaluationEntry:
    return EvaluationEntry(
        workspace.relative(image),
        _sha256(image, digests),
        image.relative_to(workspace.evaluation(category)).parts[0],
        workspace.relative(mask) if mask else None,
        _sha256(mask, digests) if mask else None,
    )


def _mask_names(inside: Path) -> list[Path]:
    """Return the paths below ground_truth that the mask of an image may have, given the image's path below test."""
    return [inside.with_name(f"{inside.stem}{end}{suffix}") for end in ("_mask", "") for suffix in _MASK_SUFFIXES]


def _require_label(image: Path, inside: Path) -> None:
    if len(inside.parts) < 2:
        raise InvalidLayout(
            f"{image} has no label",
            got=f"a file directly in {image.parent.name}",
            expected=f"a folder for each label, {GOOD!r} for normal images",
            remedy="move it into the folder of its label",
        )


def _require_owners(strangers: set[Path], missing: Sequence[Path]) -> None:
    """Refuse masks that belong to no image: ignored, they would turn pixel metrics off without a warning."""
    if not strangers:
        return
    first = min(strangers)
    more = f" (and {len(strangers) - 1} more)" if len(strangers) > 1 else ""
    beside = [image for image in missing if image.parent.name == first.parent.name] or missing
    wanted = f"ground_truth/{_mask_names(beside[0])[0].as_posix()} for test/{beside[0].as_posix()}" if beside else ""
    raise InvalidLayout(
        f"{first} is the mask of no defective image{more}",
        got=first.name,
        expected=wanted or "one mask for each image in test, none for good ones",
        remedy="rename it, or remove it",
    )


def _no_mask(image: Path, count: str, name: Path) -> Refused:
    return InvalidLayout(
        f"{image} has no mask",
        got=f"{count} defective images without one",
        expected="a mask for each defective image, or for none",
        remedy=f"add ground_truth/{name.as_posix()}, or remove all masks",
    )


def _sha256(path: Path, digests: FileDigests) -> str:
    try:
        return digests.of(path)
    except OSError as error:
        raise UnreadableImage(
            f"{path} cannot be read", got=error.strerror or str(error), expected="a file", remedy="check its rights"
        ) from error


def _digest(value: Any) -> str:
    return hashlib.sha256(files.canonical_json(value)).hexdigest()


def _missing(folder: Path, expected: str, remedy: str) -> Refused:
    got = "an empty folder" if folder.is_dir() else "no such folder"
    return NoImages(f"{folder} holds no images", got=got, expected=expected, remedy=remedy)
