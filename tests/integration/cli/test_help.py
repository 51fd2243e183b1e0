"""The help of every command, completion in a shell, and what a misspelt command answers."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from patchcore.cli.app import app
from patchcore.cli.help import COMMANDS, _commands
from tests.support.workspaces import Run

PROGRAM = str(Path(sys.executable).with_name("patchcore"))


def test_every_command_has_an_example_and_no_other_has() -> None:
    of_the_app = {name for name, _ in _commands(app)}
    # A command that is about to come or to go may be named already.
    assert of_the_app <= set(COMMANDS)


@pytest.mark.parametrize("name", [name for name, _ in _commands(app)])
def test_help_shows_an_example_and_the_exit_codes(name: str, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    done = run(*name.split(), "--help")
    assert done.returncode == 0
    assert f"Example: {COMMANDS[name].example}" in done.stdout
    assert "Exit codes: 0 done; 1 " in done.stdout
    assert f"3 refused: {COMMANDS[name].refused}" in done.stdout


@pytest.mark.parametrize("name", [name for name, _ in _commands(app)])
def test_the_example_can_be_parsed(name: str) -> None:
    program, *words = shlex.split(COMMANDS[name].example)
    assert program == "patchcore"
    command = typer.main.get_command(app)
    for part in name.split():
        assert words.pop(0) == part
        command = command.commands[part]  # type: ignore[attr-defined]
    command.make_context(name, words)  # raises where an argument is missing or an option is unknown


def _complete(*, words: str, place: int, shell: str = "bash") -> list[str]:
    environment = {"_PATCHCORE_COMPLETE": f"complete_{shell}", "COMP_WORDS": words, "COMP_CWORD": str(place)}
    done = subprocess.run([PROGRAM], env=os.environ | environment, capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_bash_completes_commands_and_options() -> None:
    assert _complete(words="patchcore re", place=1) == ["retrain", "reconcile"]
    assert "batch" in _complete(words="patchcore audit b", place=2)
    assert "--rebuild" in _complete(words="patchcore retrain --re", place=2)


def test_completion_is_installed_for_bash(tmp_path: Path) -> None:
    environment = {"HOME": str(tmp_path), "SHELL": "/bin/bash", "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    environment = {**os.environ, **environment, "PATH": f"{Path(PROGRAM).parent}:{os.environ['PATH']}"}
    subprocess.run([PROGRAM, "--install-completion", "bash"], env=environment, check=True, capture_output=True)
    script = next((tmp_path / ".bash_completions").iterdir())
    assert str(script) in (tmp_path / ".bashrc").read_text()
    typed = "COMP_WORDS=(patchcore ret); COMP_CWORD=1"
    asks = f'. {script}; {typed}; _patchcore_completion patchcore; echo "${{COMPREPLY[@]}}"'
    done = subprocess.run(["bash", "-c", asks], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["retrain"]


@pytest.mark.parametrize(("words", "nearest"), [(["retrian"], "retrain"), (["audit", "bacth"], "batch")])
def test_a_misspelt_command_names_the_nearest(words: list[str], nearest: str, run: Run) -> None:
    done = run(*words)
    assert done.returncode == 2
    assert f"Did you mean '{nearest}'" in done.stderr
