"""How commands end: exit codes, one line of error, JSON alone on stdout."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from patchcore import __version__
from patchcore._util.progress import progress
from patchcore.cli.result import Outcome, finish
from patchcore.config.workspace import Workspace
from patchcore.errors import Fault, Refused, UsageError
from tests.support.errors import line_of

Done = CompletedProcess[str]
Run = Callable[..., Done]
COMMANDS = ("init", "add", "ingest", "retrain", "promote", "rollback", "score", "audit", "serve", "demo")


def test_help_names_every_command(run: Run) -> None:
    done = run("--help")
    assert done.returncode == 0
    assert all(command in done.stdout for command in COMMANDS)


@pytest.mark.parametrize(
    "words",
    [
        ("dance",),
        ("score", "cell"),
        ("score", "cell", "folder"),
        ("promote", "cell", "two"),
        ("rollback", "cell"),
        ("retrain", "cell", "--force"),
        ("audit", "bank", "cell"),
        ("audit", "who"),
    ],
)
def test_bad_usage_exits_with_2_and_one_line(run: Run, words: tuple[str, ...]) -> None:
    done = run(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: the command cannot be understood: got ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "got", "expected"),
    [
        (("dance", "--json"), "No such command 'dance'", "a command of patchcore; see patchcore --help"),
        (
            ("audit", "who", "--json"),
            "No such command 'who'",
            "a command of patchcore audit; see patchcore audit --help",
        ),
        (
            ("score", "cell", "--json"),
            "Missing argument 'folder'",
            "the arguments and options of patchcore score; see patchcore score --help",
        ),
    ],
)
def test_bad_usage_is_json_where_that_is_asked_for_and_names_the_help_of_the_command(
    run: Run, words: tuple[str, ...], got: str, expected: str
) -> None:
    done = run(*words)
    error = f"the command cannot be understood: got {got}, expected {expected}"
    value = json.loads(done.stdout)
    assert (done.returncode, value["error"]["code"], line_of(value["error"])) == (2, "usage", error)
    assert done.stderr == f"error: {error}\n"


def test_help_is_in_the_order_of_use(run: Run) -> None:
    words = [line.strip("│ ").split(" ")[0] for line in run("--help").stdout.splitlines()]
    order = "init add ingest retrain promote rollback score override audit serve"
    order += " withdraw reconcile upgrade migrate demo"
    assert " ".join(word for word in words if word in order.split()) == order


def test_the_program_says_its_version(run: Run) -> None:
    done = run("--version")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"patchcore {__version__}")


def test_an_override_without_a_decision_names_both(run: Run, promoted: Workspace) -> None:
    done = run("override", "b1", "a.png", "--reason", "r", "-w", promoted.root)
    assert (done.returncode, done.stdout) == (2, "")
    assert "expected --normal or --anomalous" in done.stderr


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("retrain", "nut"), "no category 'nut'"),
        (("ingest", "nut", "."), "no category 'nut'"),
        (("ingest", "cell", "nowhere"), "nowhere holds no images: got no such folder"),
        (("ingest", "cell", "nothing"), "nothing holds no images: got an empty folder"),
        (("score", "nut", ".", "--batch", "b"), "no category 'nut'"),
        (("score", "cell", "nowhere", "--batch", "b"), "nowhere: got no such folder"),
        (("score", "cell", "nothing", "--batch", "b"), "nothing: got an empty folder"),
        (("score", "cell", ".", "--batch", "a/b"), "'a/b' cannot name a batch"),
        (("score", "cell", ".", "--batch", "b", "--rescore", "--reason", "r"), "batch b cannot be scored again"),
        (("promote", "nut", "1"), "no category 'nut'"),
        (("promote", "cell", "9"), "the ledger has no bank version 9 of cell"),
        (("rollback", "nut", "--reason", "r"), "no category 'nut'"),
        (("rollback", "cell", "--reason", "r"), "cell cannot go back: got no version named"),
        (("rollback", "cell", "--reason", "r", "--to", "9"), "cell cannot go back: got version 9"),
    ],
)
def test_what_cannot_be_done_is_refused_before_prefect_starts(
    run: Run,
    promoted: Workspace,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    error: str,
) -> None:
    (tmp_path / "nothing").mkdir()
    (tmp_path / "image.png").touch()
    monkeypatch.chdir(tmp_path)
    for flow in ("ingest", "retrain", "score", "promote"):
        monkeypatch.setitem(sys.modules, f"flows.{flow}", None)  # an import would fail, with exit code 1
    done = run(*words, "--json", "-w", promoted.root)
    assert done.returncode == 3, done.stderr
    assert error in line_of(json.loads(done.stdout)["error"])


@pytest.mark.parametrize("words", [(), ("audit",)])
def test_without_a_command_there_is_help_and_one_line_of_error(run: Run, words: tuple[str, ...]) -> None:
    done = run(*words)
    assert done.returncode == 2
    assert "Usage: patchcore" in done.stdout
    path = " ".join(("patchcore", *words))
    expected = f"expected a command of {path}; see {path} --help"
    assert done.stderr == f"error: the command cannot be understood: got no command, {expected}\n"


def test_a_terminal_that_lacks_a_letter_gets_an_escape(tmp_path: Path) -> None:
    command = [str(Path(sys.executable).with_name("patchcore")), "init", str(tmp_path / "Größe")]
    environment = os.environ | {"PYTHONIOENCODING": "ascii", "COLUMNS": "500"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"workspace {tmp_path}/Gr\\xf6\\xdfe is ready" in done.stdout


def test_a_bar_that_nobody_watches_is_one_line(
    caught: Callable[[Callable[[], int]], Done], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)

    def work() -> int:
        with progress("reading", 3) as advance:
            for done in (1, 2, 3):
                advance(done)
        return 0

    done = caught(work)
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert "reading" in line
    assert "3/3" in line


@pytest.mark.parametrize(
    "words",
    [
        ("add", "cell", "."),
        ("ingest", "cell", "."),
        ("retrain", "cell"),
        ("promote", "cell", "1"),
        ("rollback", "cell", "--reason", "r"),
        ("score", "cell", ".", "--batch", "b"),
        ("serve",),
        ("audit", "verify"),
    ],
)
def test_no_command_works_outside_a_workspace(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    done = run(*words)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith(f"error: no workspace in {tmp_path}")
    assert "patchcore init" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_workspace_comes_from_the_environment_too(
    run: Run, promoted: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATCHCORE_WORKSPACE", str(promoted.root))
    assert run("audit", "bank", "cell", 1).returncode == 0


def test_the_installed_command_tells_its_exit_code_to_the_shell(tmp_path: Path) -> None:
    command = [str(Path(sys.executable).with_name("patchcore")), "retrain", "cell", "--json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert line_of(json.loads(done.stdout)["error"]).startswith("no workspace in ")
    assert done.stderr.startswith("error: no workspace in ")
    assert done.stderr.count("\n") == 1


def test_init_twice_and_add_once_through_the_command_line(run: Run, tmp_path: Path, bare: Workspace) -> None:
    root = tmp_path / "workspace"
    for _ in range(2):
        assert json.loads(run("init", root, "--json").stdout) == {"workspace": str(root)}
    done = run("add", "cell", bare.root.parent / "cells", "--json", "-w", root)
    value = json.loads(done.stdout)
    assert done.returncode == 0, done.stderr
    assert (value["category"], value["normals"], value["evaluation_images"], value["masks"]) == ("cell", 24, 12, 0)
    assert value["dataset_version"] == 1
    again = run("add", "cell", bare.root.parent / "cells", "-w", root)
    assert again.returncode == 3
    assert "category 'cell' exists" in again.stderr


@pytest.mark.parametrize(
    ("words", "shown"),
    [(("retrain", "cell"), ("image AUROC", "gate: passed", "in production: version 1", "nothing new"))],
)
def test_a_person_sees_tables_and_no_json(
    run: Run, workspace: Workspace, words: tuple[str, ...], shown: tuple[str, ...]
) -> None:
    done = run(*words, "-w", workspace.root)
    assert done.returncode == 0
    assert all(text in done.stdout for text in shown), done.stdout
    assert "{" not in done.stdout


class Ending:
    """A command's work that prints, starts a process that prints, and ends as it is told."""

    def __init__(self, end: BaseException | Outcome[dict[str, Any]]) -> None:
        self.end = end

    def __call__(self) -> Outcome[dict[str, Any]]:
        print("a library's words")  # noqa: T201
        subprocess.run([sys.executable, "-c", "print('a stage says')"], check=True)
        os.write(1, b"and C code too\n")
        if isinstance(self.end, Outcome):
            return self.end
        raise self.end


REFUSAL = Refused("the gate", "0.5", "0.9", "look")


def error(code: str, message: str, got: str, expected: str, remedy: str) -> dict[str, str]:
    return {"code": code, "message": message, "got": got, "expected": expected, "remedy": remedy}


@pytest.mark.parametrize(
    ("end", "code", "value"),
    [
        (Outcome({"a": 1}), 0, {"a": 1}),
        (Outcome({"a": 1}, REFUSAL), 3, {"a": 1, "error": error("refused", "the gate", "0.5", "0.9", "look")}),
        (REFUSAL, 3, {"error": error("refused", "the gate", "0.5", "0.9", "look")}),
        (Fault("a", "b", "c", "d"), 1, {"error": error("fault", "a", "b", "c", "d")}),
        (UsageError("a", "b", "c", "d"), 2, {"error": error("usage", "a", "b", "c", "d")}),
        (
            KeyboardInterrupt(),
            1,
            {"error": error("interrupted", "stopped", "an interrupt", "the end of the work", "run the command again")},
        ),
        (
            ZeroDivisionError("by\nzero"),
            1,
            {
                "error": error(
                    *("unexpected", "the command failed", "ZeroDivisionError: by zero", "no error"),
                    "report it with the lines above",
                )
            },
        ),
    ],
)
def test_json_is_alone_on_stdout_however_a_command_ends(
    caught: Callable[[Callable[[], int]], Done],
    end: BaseException | Outcome[dict[str, Any]],
    code: int,
    value: dict[str, Any],
) -> None:
    done = caught(lambda: finish(Ending(end), as_json=True, show=lambda _: None))
    out, err = done.stdout, done.stderr
    assert done.returncode == code
    assert json.loads(out) == value
    assert out.count("\n") == 1
    assert all(words in err for words in ("a library's words", "a stage says", "and C code too"))
    if code:
        assert err.splitlines()[-1] == f"error: {line_of(value['error'])}"


def test_a_file_name_that_is_not_utf_8_is_json_still(caught: Callable[[Callable[[], int]], Done]) -> None:
    name = os.fsdecode(b"part-\xff.png")
    done = caught(lambda: finish(lambda: Outcome({"path": name}), as_json=True, show=lambda _: None))
    assert done.returncode == 0
    assert json.loads(done.stdout) == {"path": name}
