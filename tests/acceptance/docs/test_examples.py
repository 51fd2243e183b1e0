"""The commands of the README and of the first tutorial run, and print what these pages quote."""

import re
from pathlib import Path

import pytest

from docs.tools.quote import README, TUTORIAL, Shell, Transcript, blocks, clean_environment
from docs.tools.washers import draw_folders

# What differs between two runs: numbers, digests, times, and the widths of columns that hold them.
_DIFFERENT = re.compile(r"[0-9a-f]{16,}…?|[\d.:+-]+(?:Z|[0-9a-f]{7}(?:-dirty)?)?|─+|━+|\s+")


def test_the_readme_has_only_commands_that_the_tutorial_runs_in_the_same_order() -> None:
    tutorial = iter([each for block in blocks(TUTORIAL.read_text()) for each in block.commands])

    assert all(command in tutorial for block in blocks(README.read_text()) for command in block.commands)


@pytest.mark.slow
def test_the_tutorial_runs_and_prints_what_it_and_the_readme_quote(tmp_path: Path) -> None:
    draw_folders(tmp_path)
    transcript = Transcript(Shell(tmp_path, clean_environment()).run)
    for page, printed in ((TUTORIAL, transcript.record), (README, transcript.repeat)):
        for block in blocks(page.read_text(encoding="utf-8")):
            lines = {_same(line) for command in block.commands for line in printed(command).splitlines()}
            assert [line for line in block.shown if _same(line) not in lines] == [], (page.name, block.commands)


def _same(line: str) -> str:
    return _DIFFERENT.sub(" ", line).strip()
