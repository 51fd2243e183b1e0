"""The process entry of a DVC stage, run in the workspace: python -m patchcore fingerprint | STEP --category C."""

import argparse
import importlib
import json
import sys
import traceback
from pathlib import Path

from patchcore.config.params import load_params
from patchcore.config.pipeline import FINGERPRINT, STAGES, check_pipeline
from patchcore.config.workspace import find_workspace
from patchcore.errors import PatchcoreError, Unexpected
from patchcore.steps.fingerprint import write_fingerprints


def main(arguments: list[str] | None = None) -> int:
    """Run one step and return its exit code: 0 done, 1 a fault, 2 usage, 3 refused."""
    parser = argparse.ArgumentParser(prog="python -m patchcore", description="One stage of dvc.yaml.")
    parser.add_argument("step", choices=(FINGERPRINT, *STAGES))
    parser.add_argument("--category", help="the kind of part; every step but fingerprint needs it")
    chosen = parser.parse_args(arguments)
    if (chosen.step == FINGERPRINT) != (chosen.category is None):
        parser.error(f"{FINGERPRINT} takes no category, every other step takes one")
    try:
        workspace = find_workspace(Path())  # DVC runs a stage in its workspace; PATCHCORE_WORKSPACE does not count
        check_pipeline(workspace)
        params = load_params(workspace.params)
        if chosen.step == FINGERPRINT:
            write_fingerprints(workspace, params)
            return 0
        params.require(chosen.category)
        importlib.import_module(f"patchcore.steps.{chosen.step}").run(workspace, chosen.category, params)
    except PatchcoreError as error:
        return _tell(error)
    except Exception as error:  # noqa: BLE001  # the last word of a process: anything unforeseen is a fault of ours
        traceback.print_exc()
        got = f"{type(error).__name__}: {error}"
        return _tell(Unexpected(f"the step {chosen.step} failed", got, "no error", "report it with the lines above"))
    return 0


def _tell(error: PatchcoreError) -> int:
    """Hand the error to the flow that waits for it, or print it for the person who ran `dvc repro`."""
    from patchcore.config.settings import read_settings

    waiting = read_settings().error_file
    if waiting:
        words = {"what": error.what, "got": error.got, "expected": error.expected, "remedy": error.remedy}
        waiting.write_text(json.dumps({"code": error.code, **words}), encoding="utf-8")
    else:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
    return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
