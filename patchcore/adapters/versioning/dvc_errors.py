"""Errors of DVC, and of the processes of its stages, as errors of this library."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

from patchcore.errors import (
    CannotWrite,
    DataMissing,
    Fault,
    PatchcoreError,
    Refused,
    StageFailed,
    WorkspaceBusy,
    error_types,
)


def translated(root: Path, error: Exception) -> PatchcoreError:
    """Return an error of DVC as one of this library.

    Args:
        root: The workspace's folder.
        error: What DVC raised.

    Raises:
        Exception: The error itself, if it is neither DVC's nor the operating system's.
    """
    from dvc.exceptions import DvcException
    from dvc.stage.exceptions import MissingDataSource, StageCmdFailedError

    causes = list(_chain(error))
    if not any(isinstance(cause, DvcException | OSError) for cause in causes):
        raise error
    words = "; ".join(str(cause) for cause in causes)
    what = f"DVC failed in {root}"
    if any(isinstance(cause, StageCmdFailedError) for cause in causes):
        return StageFailed(what, got=words, expected="a stage that ends well", remedy="read what the stage printed")
    if not any(isinstance(cause, DvcException) for cause in causes):
        remedy = "free space on the disk, then run the command again"
        return CannotWrite(what, got=words, expected="a disk that can be written", remedy=remedy)
    if any(isinstance(cause, MissingDataSource) for cause in causes) or "missing data" in words:
        return DataMissing(what, got=words, expected="the data", remedy="fetch it with: dvc pull")
    return Refused(what, got=words, expected="a workspace that DVC can read", remedy="repair what DVC names")


def busy(root: Path, error: Exception, waited: float) -> WorkspaceBusy:
    """Return the error of a DVC repository whose lock another process holds.

    Args:
        root: The workspace's folder.
        error: What DVC raised.
        waited: Seconds.
    """
    holders = re.findall(r"PID (\d+)", " ".join(map(str, _chain(error)))) or _lock_holder(root)
    return WorkspaceBusy(
        f"the DVC repository {root} is busy",
        got=f"its lock held by process {', '.join(holders) or 'unknown'} for more than {waited:g} s",
        expected="one command at a time",
        remedy="wait for that process to end, or stop it, then run the same command again",
    )


def stage_error(stage: str, fault: Fault, error_file: Path) -> PatchcoreError:
    """Return the error that the process of a stage wrote to a file; if it wrote none, `StageFailed`.

    Args:
        stage: The name of the stage.
        fault: What DVC said.
        error_file: The file.
    """
    try:
        written = json.loads(error_file.read_text(encoding="utf-8"))
        words = [str(written[key]) for key in ("what", "got", "expected", "remedy")]
    except (OSError, ValueError, KeyError):
        remedy = f"run it alone: dvc repro --single-item {stage}"
        return StageFailed(f"stage {stage} failed", got=fault.got, expected="a stage that ends well", remedy=remedy)
    return error_types().get(written.get("code"), StageFailed)(*words)


def is_about_a_lock(error: Exception) -> bool:
    """Say whether another process holds DVC's lock."""
    from dvc.lock import LockError

    return any(isinstance(cause, LockError) for cause in _chain(error))


def _chain(error: BaseException) -> Iterator[BaseException]:
    following: BaseException | None = error
    while following is not None:
        yield following
        following = following.__cause__


def _lock_holder(root: Path) -> list[str]:
    """Return the process that DVC's lock file names; empty if it names none."""
    try:
        return re.findall(r"\d+", (root / ".dvc" / "tmp" / "lock").read_text(encoding="utf-8"))
    except OSError:
        return []
