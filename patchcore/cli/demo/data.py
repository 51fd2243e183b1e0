"""The demo's images: solar cells of the package elpv-dataset, laid out as a factory would find them.

Buerhop-Lutz et al., "A Benchmark for Visual Identification of Defective Solar Cells in Electroluminescence Imagery"
(2018), CC BY-NC-SA 4.0. They are read from the installed package and copied nowhere but into the demo's own folder.
"""

import random
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from patchcore._util.files import write_bytes
from patchcore.errors import Refused

_FIRST_NORMALS, _NEW_NORMALS, _BATCH_NORMALS, _BATCH_DEFECTS = 200, 60, 18, 6
_LABELS = {0.0: "good", 2 / 3: "probably_defective", 1.0: "defective"}


@dataclass(frozen=True)
class DemoImages:
    """The images of one story, no image in two places.

    Attributes:
        first: normal images of data-set version 1.
        new: normal images that arrive later.
        evaluation: label -> images.
        batches: images of each batch, good and defective ones mixed.
    """

    first: Sequence[Path]
    new: Sequence[Path]
    evaluation: Mapping[str, Sequence[Path]]
    batches: Sequence[Sequence[Path]]


def choose_images(kind: str, seed: int) -> DemoImages:
    """Split the cells of a kind (mono or poly); cells of defect probability 1/3 are in neither class.

    Raises:
        Refused: the data set is not installed.
    """
    labelled = _labelled(kind)
    shuffled = random.Random(seed)  # noqa: S311  # a split, not a secret
    for images in labelled.values():
        shuffled.shuffle(images)
    good, defective = labelled["good"], labelled["defective"]
    first, new = _take(good, _FIRST_NORMALS), _take(good, _NEW_NORMALS)
    batches = [_take(good, _BATCH_NORMALS) + _take(defective, _BATCH_DEFECTS) for _ in range(2)]
    return DemoImages(first, new, labelled, batches)


def lay_out(images: DemoImages, folder: Path) -> None:
    """Copy the first normal images and the evaluation set into a folder in MVTec layout."""
    _copy(images.first, folder / "train" / "good")
    for label, chosen in images.evaluation.items():
        _copy(chosen, folder / "test" / label)


def lay_out_category(folder: Path) -> None:
    """Lay out the demo's category as the pointers in data/solar name it: its first images, and a note without masks."""
    from patchcore.dataset.manifest import NO_MASKS, NOTE

    lay_out(choose_images("mono", seed=0), folder)
    write_bytes(folder / "ground_truth" / NOTE, NO_MASKS.encode())


def drop_new(images: DemoImages, folder: Path) -> None:
    """Put the new normal images into a drop folder, and four that must not be taken among them."""
    from PIL import Image

    _copy(images.new, folder)
    whole = images.new[0].read_bytes()
    (folder / "truncated.png").write_bytes(whole[: len(whole) // 2])
    (folder / "not_an_image.png").write_text("The camera was offline.\n", encoding="utf-8")
    shutil.copyfile(images.first[0], folder / "copy_of_an_old_one.png")
    with Image.open(images.new[1]) as image:
        image.resize((200, 200)).save(folder / "wrong_size.png")


def _labelled(kind: str) -> dict[str, list[Path]]:
    package = find_spec("elpv_dataset")
    if package is None or package.origin is None:
        raise Refused(
            "no images for the demo",
            got="no package elpv-dataset",
            expected="the solar cells that it brings",
            remedy="run: pip install elpv-dataset",
        )
    data = Path(package.origin).parent / "data"
    labelled: dict[str, list[Path]] = {label: [] for label in _LABELS.values()}
    for line in (data / "labels.csv").read_text(encoding="utf-8").splitlines():
        path, probability, kind_of_cell = line.split()
        label = next((name for value, name in _LABELS.items() if abs(value - float(probability)) < 0.01), None)
        if kind_of_cell == kind and label:
            labelled[label].append(data / path)
    return labelled


def _take(images: list[Path], count: int) -> list[Path]:
    taken = images[:count]
    del images[:count]
    return taken


def _copy(images: Iterable[Path], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for image in images:
        shutil.copyfile(image, folder / image.name)


def fill_batch(images: Sequence[Path], folder: Path) -> None:
    """Copy the images of a batch to the folder of the line's camera."""
    _copy(images, folder)


if __name__ == "__main__":  # `make data`
    lay_out_category(Path(sys.argv[1]))
