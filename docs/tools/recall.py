"""Play the recall of docs/tutorials/recall.md on real images, and write what every command prints into that page.

Run: ``python -m docs.tools.recall FOLDER``, with a folder that does not exist yet.
"""

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from docs.tools.quote import ROOT, Shell, clean_environment, renew
from patchcore.cli.demo.data import DemoImages, choose_images, lay_out

PAGE = ROOT / "docs/tutorials/recall.md"
BAD, MISSED = "cell0412.png", ("cell0487.png", "cell0489.png")  # the same kind of defect, on cells of one module
NEW_NORMALS, NORMALS, DEFECTS = 20, 18, 4  # images that come later; in a batch, beside the missed ones in the second


def main(folder: Path) -> None:
    """Lay out the images of the story, play it, and renew the page."""
    folder.mkdir(parents=True)
    shell = Shell(folder, clean_environment(PATCHCORE_ANCHOR_FILE=str(folder / "anchors.jsonl")))
    lay_out_story(shell)
    PAGE.write_text(renew(PAGE.read_text(encoding="utf-8"), shell.run), encoding="utf-8")


def lay_out_story(shell: Shell) -> None:
    """Make the workspace ``inspection`` with its images, and enter it; no image is in two places."""
    folder = shell.folder
    images = choose_images("mono", seed=0)
    used = {BAD, *MISSED}
    evaluation = {
        label: [path for path in paths if path.name not in used] for label, paths in images.evaluation.items()
    }
    lay_out(DemoImages(images.first, images.new, evaluation, images.batches), folder / "solar")
    for command in ("patchcore init inspection", "cd inspection", "patchcore add solar ../solar"):
        shell.run(command)
    every = {path.name: path for paths in images.evaluation.values() for path in paths}
    first, second = images.batches
    _copy(first[: NORMALS + DEFECTS], shell.folder / "line/4711")
    _copy([*second[: NORMALS + DEFECTS], *(every[name] for name in MISSED)], shell.folder / "line/4712")
    _copy([*images.new[:NEW_NORMALS], every[BAD]], shell.folder / "camera")
    (shell.folder / "drop").mkdir()


def _copy(images: Sequence[Path], folder: Path) -> None:
    folder.mkdir(parents=True)
    for image in images:
        shutil.copyfile(image, folder / image.name)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
