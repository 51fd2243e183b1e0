"""How a command ends: one JSON object or a table, one line of error, an exit code."""

import json
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from patchcore.errors import Fault, PatchcoreError


@dataclass(frozen=True)
class Outcome:
    """What a command found.

    Attributes:
        value: what `--json` prints.
        refusal: the error of a command that did its work and says no, such as a gate that was not passed.
    """

    value: dict[str, Any] = field(default_factory=dict)
    refusal: PatchcoreError | None = None


def finish(work: Callable[[], Outcome], *, as_json: bool, show: Callable[[dict[str, Any]], None]) -> int:
    """Do a command's work and tell how it ended; return the exit code.

    With JSON, nothing but the object reaches stdout, whatever libraries and the processes of stages print.
    """
    with _clean_stdout(as_json) as tell:
        try:
            outcome = work()
            error = outcome.refusal
            value = outcome.value
        except PatchcoreError as raised:
            error, value = raised, {}
        except KeyboardInterrupt:
            error, value = Fault("stopped", "an interrupt", "the end of the work", "run the command again"), {}
        except Exception as raised:  # noqa: BLE001  # the last word of the process: what nobody foresaw is a fault of ours
            traceback.print_exc()
            got = f"{type(raised).__name__}: {raised}"
            error, value = Fault("the command failed", got, "no error", "report it with the lines above"), {}
        if as_json:
            tell(json.dumps(value if error is None else {**value, "error": str(error)}, ensure_ascii=False))
        elif value:
            show(value)
    return 0 if error is None else _tell_error(error)


def end(error: PatchcoreError, *, as_json: bool) -> int:
    """Tell how a command ended before it began; return the exit code."""
    if as_json:
        with _clean_stdout(as_json) as tell:
            tell(json.dumps({"error": str(error)}, ensure_ascii=False))
    return _tell_error(error)


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
            # A file name that is not UTF-8 has lone surrogates in it: escaped with a backslash they are JSON still.
            os.write(1, (line + "\n").encode(errors="backslashreplace"))
