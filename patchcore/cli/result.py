"""How a command ends: one JSON object or a table, one line of error, an exit code."""

import json
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from patchcore._util.model import Model
from patchcore.errors import Interrupted, MissingExtra, PatchcoreError, Unexpected

Value = TypeVar("Value", bound="Model | dict[str, Any]")


class ErrorReport(Model):
    """An error in the JSON of a command.

    Attributes:
        code: What kind of error it is; see `patchcore.errors`.
        message: What was refused or failed.
        got: What was found.
        expected: What was expected in its place.
        remedy: What to do.
    """

    code: str
    message: str
    got: str
    expected: str
    remedy: str


@dataclass(frozen=True)
class Outcome(Generic[Value]):
    """What a command found.

    Attributes:
        value: What `--json` prints and tables show; None where there is nothing to print.
        refusal: The error of a command that did its work and then refuses, such as a gate that did not pass.
    """

    value: Value | None = None
    refusal: PatchcoreError | None = None


def finish(work: Callable[[], Outcome[Value]], *, as_json: bool, show: Callable[[Value], None]) -> int:
    """Run a command and report how it ended; return the exit code.

    With JSON, only the object reaches stdout, even if libraries or the processes of stages print.
    """
    with _clean_stdout(as_json) as tell:
        outcome = _outcome_of(work)
        if as_json:
            tell(_json(outcome.value, outcome.refusal))
        elif outcome.value is not None:
            show(outcome.value)
    return 0 if outcome.refusal is None else _tell_error(outcome.refusal)


def end(error: PatchcoreError, *, as_json: bool) -> int:
    """Report an error that occurred before the command began; return the exit code."""
    if as_json:
        with _clean_stdout(as_json) as tell:
            tell(_json(None, error))
    return _tell_error(error)


def report_of(error: PatchcoreError) -> ErrorReport:
    """Return the form that an error has in the JSON of a command."""
    return ErrorReport(code=error.code, message=error.what, got=error.got, expected=error.expected, remedy=error.remedy)


def _outcome_of(work: Callable[[], Outcome[Value]]) -> Outcome[Value]:
    try:
        return work()
    except PatchcoreError as error:
        return Outcome(None, error)
    except KeyboardInterrupt:
        return Outcome(None, Interrupted("stopped", "an interrupt", "the end of the work", "run the command again"))
    except ModuleNotFoundError as error:
        return Outcome(None, _missing(error))
    except Exception as error:  # noqa: BLE001  # the last handler of the process: an unforeseen error is a fault
        traceback.print_exc()
        got = f"{type(error).__name__}: {error}"
        return Outcome(None, Unexpected("the command failed", got, "no error", "report it with the lines above"))


def _missing(error: ModuleNotFoundError) -> PatchcoreError:
    """Return the error for a library that is not installed: the wheel alone brings what the library needs."""
    return MissingExtra(
        "the command needs a library that is not installed",
        got=f"no module {error.name or error}",
        expected="the libraries that commands on a workspace need",
        remedy="install them with: pip install 'patchcore-lifecycle[pipeline]'",
    )


def _json(value: Model | dict[str, Any] | None, error: PatchcoreError | None) -> str:
    shown = value.model_dump(mode="json") if isinstance(value, Model) else dict(value or {})
    if error is not None:
        shown["error"] = report_of(error).model_dump(mode="json")
    return json.dumps(shown, ensure_ascii=False)


def _tell_error(error: PatchcoreError) -> int:
    print(f"error: {error}", file=sys.stderr)  # noqa: T201
    return error.exit_code


@contextmanager
def _clean_stdout(as_json: bool) -> Iterator[Callable[[str], None]]:
    """Keep stdout for one line: until then, file descriptor 1 leads to stderr, for child processes too."""
    if not as_json:
        yield lambda _: None
        return
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    lines: list[str] = []
    try:
        yield lines.append
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)
        for line in lines:
            # A file name that is not UTF-8 has lone surrogates in it: escaped with a backslash, they are still JSON.
            os.write(1, (line + "\n").encode(errors="backslashreplace"))
