"""Every command and option that the documentation names exists."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from patchcore.cli.app import app
from tests.support.places import REPOSITORY

_PAGES = sorted(
    [
        *REPOSITORY.glob("*.md"),
        *(page for page in REPOSITORY.glob("docs/**/*.md") if "site" not in page.parts),
    ]
)
# A command in a code block or between backticks, up to its end or a comment; not the text that a ledger record begins
# with.
_COMMAND = re.compile(r"(?:^(?:\$ )?|`(?:[A-Z_]+=\S+ )*)patchcore (?!ledger )((?:[^`\n#]|#\S)*)", re.MULTILINE)
_HISTORY = {"decisions"}  # a decision may name a command of its time


@pytest.mark.parametrize("page", _PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_the_page_names_only_commands_and_options_that_exist(page: Path) -> None:
    if page.parent.name in _HISTORY:
        pytest.skip("history")
    assert [problem for line in _commands(page) for problem in _problems(line)] == []


def _commands(page: Path) -> Iterator[str]:
    for found in _COMMAND.finditer(page.read_text(encoding="utf-8")):
        yield found[1].strip()


def _problems(line: str) -> Iterator[str]:
    """Yield what is wrong with a command line: ``score bottle FOLDER --batch ID``, or ``audit verify, anchor``."""
    command: Any = typer.main.get_command(app)
    words = re.sub(r'"[^"]*"', "TEXT", line).split()
    while words and hasattr(command, "list_commands") and re.fullmatch(r"[a-z][a-z-]*,?", words[0]):
        names = command.list_commands(None)
        together = words.pop(0)
        if together.rstrip(",") not in names:
            yield f"no command {together!r} in: patchcore {line}"
            return
        if together.endswith(","):  # commands side by side: the options are those of none of them
            yield from (f"no command {word!r} in: patchcore {line}" for word in words if word.rstrip(",") not in names)
            return
        command = command.get_command(None, together)
    options = {name for each in command.params for name in (*each.opts, *each.secondary_opts)} | {"--help"}
    for word in words:
        option = word.split("=")[0].rstrip(",;.)")
        if option.startswith("-") and option.strip("-") and option not in options:
            yield f"no option {option!r} in: patchcore {line}"
