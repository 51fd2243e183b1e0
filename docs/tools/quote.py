"""Run the commands of a page and write what they print into it.

A block of a page whose first line begins with ``$`` holds commands, each followed by what it prints. Commands run in
one folder, in the order of the page. A line ``<!-- show: 1-4,9- -->`` before a block keeps these lines of its output
and puts ``…`` in place of the others.

    python -m docs.tools.quote FOLDER        README.md and the first tutorial, on drawn washers; FOLDER must not exist
"""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
README, TUTORIAL = ROOT / "README.md", ROOT / "docs/tutorials/first-bank.md"
_BORDER = set(" ┌┐└┘├┤┏┓┗┛┡┩╇┬┴┼─━┳┻")
_BLOCK = re.compile(r"(?:<!-- show: (?P<show>[\d,-]+) -->\n)?```(?:console)?\n(?P<body>\$ .*?)```", re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A block of commands in a page.

    Attributes:
        text: The block with its fences.
        commands: Its commands, without the ``$``.
        shown: What the page quotes: a line of output each, without the commands and the ``…``.
        ranges: Which lines of the output the page keeps, counted from 1; empty for all.
    """

    text: str
    commands: tuple[str, ...]
    shown: tuple[str, ...]
    ranges: tuple[tuple[int, int | None], ...] = ()


class Shell:
    """Runs commands one after the other, as a person in a terminal does: ``cd`` stays in effect.

    Attributes:
        folder: The current folder.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.folder = folder
        self._start = folder
        self._environment = {**environment, "HOME": str(folder), "COLUMNS": "100"}

    def run(self, command: str) -> str:
        """Return what a command prints on stdout; paths below the start folder are shown as ``~``.

        Raises:
            RuntimeError: the command fails.
        """
        words = shlex.split(command)
        if words[0] == "cd":
            self.folder = (self.folder / words[1]).resolve()
            return ""
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=self.folder,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        if done.returncode:
            raise RuntimeError(f"{command}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done.stdout.replace(f"{self.folder}/", "").replace(f"{self._start}/", "~/")


def clean_environment(**more: str) -> dict[str, str]:
    """Return the environment without settings that lead to services of a plant, with ``patchcore`` on the PATH."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "PREFECT_", "PATCHCORE_"))
    }
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**kept, "PATCHCORE_USER": "eva@fab", "PATH": path, **more}


def blocks(page: str) -> Iterator[Block]:
    """Yield the blocks of commands in the text of a page."""
    for found in _BLOCK.finditer(page):
        lines = found["body"].rstrip().splitlines()
        shown = tuple(line for line in lines if line.strip() not in {"", "…"} and not line.startswith("$ "))
        yield Block(
            found[0],
            tuple(line[2:] for line in lines if line.startswith("$ ")),
            shown,
            tuple(_range(each) for each in (found["show"] or "").split(",") if each),
        )


def renew(page: str, run: Callable[[str], str]) -> str:
    """Return the text of a page with what its commands print now."""
    for block in blocks(page):
        parts = []
        for command in block.commands:
            printed = [line.rstrip() for line in run(command).rstrip().splitlines()]
            parts.append("\n".join((f"$ {command}", *_kept(printed, block.ranges))))
            print(parts[-1], flush=True)  # noqa: T201
        head, fence = re.match(r"((?:<!--.*?-->\n)?)(```\w*)", block.text).groups()  # type: ignore[union-attr]
        # Commands without output stand line below line.
        body = "".join(part + ("\n\n" if "\n" in part else "\n") for part in parts).rstrip()
        page = page.replace(block.text, f"{head}{fence}\n{body}\n```")
    return page


def _range(text: str) -> tuple[int, int | None]:
    first, dash, last = text.partition("-")
    return int(first), int(last) if last else None if dash else int(first)


def _kept(lines: list[str], ranges: tuple[tuple[int, int | None], ...]) -> Iterator[str]:
    wanted = {
        number
        for first, last in ranges or ((1, None),)
        for number in range(first, min(len(lines) if last is None else last, len(lines)) + 1)
    }
    gap = False
    for number, line in enumerate(lines, 1):
        if number in wanted:
            yield from (["  …"] if gap else [])
            yield line
            gap = False
        else:
            gap = gap or not set(line) <= _BORDER  # the border of a table alone is no gap
    yield from (["  …"] if gap else [])


class Transcript:
    """Runs each command once and repeats what it printed: the README quotes the run of the tutorial."""

    def __init__(self, run: Callable[[str], str]) -> None:
        self._run = run
        self._printed: dict[str, list[str]] = {}

    def record(self, command: str) -> str:
        """Run a command."""
        self._printed.setdefault(command, []).append(self._run(command))
        return self._printed[command][-1]

    def repeat(self, command: str) -> str:
        """Return what a command printed, the first time first.

        Raises:
            LookupError: it did not run.
        """
        if not self._printed.get(command):
            raise LookupError(f"the tutorial does not run this command of the README: {command}")
        return self._printed[command].pop(0)


def main(folder: Path) -> None:
    """Draw washers, run the commands of the tutorial, and renew it and the README."""
    from docs.tools.washers import draw_folders

    folder.mkdir(parents=True)
    draw_folders(folder)
    transcript = Transcript(Shell(folder, clean_environment()).run)
    tutorial = renew(TUTORIAL.read_text(encoding="utf-8"), transcript.record)
    readme = renew(README.read_text(encoding="utf-8"), transcript.repeat)
    TUTORIAL.write_text(tutorial, encoding="utf-8")
    README.write_text(readme, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
