"""Lives through the recall in docs/recall.md on real images, and writes what every command said into that page.

The page is prose with commands; what stands after one is replaced by what it prints. `python docs/recall.py FOLDER`
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from patchcore.cli.demo.data import DemoImages, choose_images, lay_out

PAGE = Path(__file__).with_suffix(".md")
PROGRAMS = Path(sys.executable).parent
BAD, MISSED = "cell0412.png", ("cell0487.png", "cell0489.png")  # the same kind of defect, on cells of one module
NEW_NORMALS, NORMALS, DEFECTS = 20, 18, 4  # that come later; in a batch, beside the missed ones in the second
_BLOCK = re.compile(r"```\n(\$ .*?)```", re.DOTALL)


def main(folder: Path) -> None:
    """Play the story in a folder that does not exist yet, and renew the page."""
    folder.mkdir(parents=True)
    workspace = folder / "inspection"
    # Settings of a person's shell may lead to the plant's own services: nothing invented is ever written there.
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "PREFECT_", "PATCHCORE_"))
    }
    environment |= {
        "PATCHCORE_ANCHOR_FILE": str(folder / "anchors.jsonl"),
        "PATCHCORE_USER": "eva@fab",
        "PATH": f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}",
        "COLUMNS": "100",
    }
    images = _prepare(folder, workspace, environment)
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(
        _BLOCK.sub(lambda block: _renewed(block.group(1), workspace, environment, images), page), encoding="utf-8"
    )


def _prepare(folder: Path, workspace: Path, environment: Mapping[str, str]) -> DemoImages:
    """Lay out the images of the story; no image is in two places."""
    images = choose_images("mono", seed=0)
    told = {BAD, *MISSED}
    evaluation = {
        label: [path for path in paths if path.name not in told] for label, paths in images.evaluation.items()
    }
    lay_out(DemoImages(images.first, images.new, evaluation, images.batches), folder / "solar")
    for command in (["init", str(workspace)], ["add", "solar", str(folder / "solar"), "-w", str(workspace)]):
        _run(["patchcore", *command], folder, environment)
    every = {path.name: path for paths in images.evaluation.values() for path in paths}
    first, second = images.batches
    _put(first[: NORMALS + DEFECTS], workspace / "line" / "4711")
    _put([*second[: NORMALS + DEFECTS], *(every[name] for name in MISSED)], workspace / "line" / "4712")
    _put([*images.new[:NEW_NORMALS], every[BAD]], workspace / "camera")
    (workspace / "drop").mkdir()
    return images


def _put(images: Sequence[Path], folder: Path) -> None:
    folder.mkdir(parents=True)
    for image in images:
        shutil.copyfile(image, folder / image.name)


def _renewed(block: str, workspace: Path, environment: Mapping[str, str], images: DemoImages) -> str:
    """Run the commands of a block, and return it with what they print."""
    commands = [line[2:] for line in block.splitlines() if line.startswith("$ ")]
    shown = []
    for command in commands:
        said = _run(shlex.split(command), workspace, environment)
        shown.append("\n".join(line.rstrip() for line in f"$ {command}\n{said}".rstrip().splitlines()))
        print(shown[-1], flush=True)  # noqa: T201
    return "```\n" + "\n\n".join(shown) + "\n```"


def _run(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> str:
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{shlex.join(command)}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout.replace(f"{folder}/", "")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
