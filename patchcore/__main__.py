"""The process entry of a DVC stage: python -m patchcore STEP --category C, run in the workspace."""

import argparse
import importlib
import json
import os
import sys
import traceback
from pathlib import Path

from patchcore.errors import Fault, PatchcoreError
from patchcore.layout import find_workspace
from patchcore.params import load_params

STEPS = ("validate", "extract", "build", "evaluate")


def main(arguments: list[str] | None = None) -> int:
    """Run one step and return its exit code: 0 done, 1 a fault, 2 usage, 3 refused."""
    parser = argparse.ArgumentParser(prog="python -m patchcore", description="One stage of dvc.yaml.")
    parser.add_argument("step", choices=STEPS)
    parser.add_argument("--category", required=True)
    chosen = parser.parse_args(arguments)
    try:
        workspace = find_workspace(Path())  # DVC runs a stage in its workspace, whatever the environment names
        params = load_params(workspace.params)
        params.require(chosen.category)
        importlib.import_module(f"patchcore.steps.{chosen.step}").run(workspace, chosen.category, params)
    except PatchcoreError as error:
        return _tell(error)
    except Exception as error:  # noqa: BLE001  # the last word of a process: anything unforeseen is a fault of ours
        traceback.print_exc()
        got = f"{type(error).__name__}: {error}"
        return _tell(Fault(f"the step {chosen.step} failed", got, "no error", "report it with the lines above"))
    return 0


def _tell(error: PatchcoreError) -> int:
    """Hand the error to the flow that waits for it, or print it for the person who ran `dvc repro`."""
    waiting = os.environ.get("PATCHCORE_ERROR_FILE")
    if waiting:
        kind = next(base.__name__ for base in type(error).__mro__ if base.__module__ == PatchcoreError.__module__)
        words = {"what": error.what, "got": error.got, "expected": error.expected, "remedy": error.remedy}
        Path(waiting).write_text(json.dumps({"kind": kind, **words}), encoding="utf-8")
    else:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
    return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
