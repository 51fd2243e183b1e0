"""DVC and git: what keeps the bytes of a workspace, runs its stages, and says which version of everything was there."""

import json
import re
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import chdir, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import patchcore
from patchcore.adapters.versioning.dvc_repair import mend
from patchcore.adapters.versioning.git import Git
from patchcore.config.environment import NO_TELEMETRY, search_path
from patchcore.config.workspace import Workspace
from patchcore.errors import Fault, PatchcoreError, Refused, StageFailed, error_types

ERROR_FILE = "PATCHCORE_ERROR_FILE"
"""Environment variable: where the process of a stage writes the error that ended it, as JSON."""

_IN_THE_WORKSPACE = threading.RLock()
_Result = TypeVar("_Result")


class Versioning:
    """The DVC and git repositories of a workspace.

    Args:
        workspace: The workspace; its root is the root of both repositories.
        lock_wait: Seconds to wait while another process holds DVC's lock.
    """

    def __init__(self, workspace: Workspace, lock_wait: float = 60.0) -> None:
        self._workspace = workspace
        self._lock_wait = lock_wait
        self._git = Git(workspace.root)

    def initialise(self) -> list[Path]:
        """Make the folder a git and a DVC repository that reports to nobody; do nothing where it is one already.

        Returns:
            The files that belong into git.
        """
        self._git.initialise()
        root = self._workspace.root
        settings = root / ".dvc" / "config"
        if not settings.is_file():
            self._initialise_dvc()
        return [settings, root / ".dvc" / ".gitignore", root / ".dvcignore"]

    def track(self, folders: Sequence[Path]) -> None:
        """Put the present content of folders under DVC: their pointers say it, the cache keeps it.

        Raises:
            Refused: another process holds DVC's lock, or a stage already writes one of the folders.
        """
        paths = [str(folder.absolute()) for folder in folders]
        self._with_repository(lambda repository: repository.add(paths))

    def stages_to_run(self, category: str) -> list[str]:
        """Return the names of a category's stages, each after those it depends on; none where all are up to date.

        This is one look at the graph and its files; to ask stage after stage would open the repository each time.
        A stage that always runs counts by what it wrote last.

        Raises:
            Refused: dvc.yaml has no stage for the category, or cannot be read, or another process holds DVC's lock.
        """

        def look(repository: Any) -> list[str]:
            from dvc.repo import lock_repo
            from dvc.repo.reproduce import plan_repro

            with lock_repo(repository):
                stages = self._stages_of(repository, category)
                plan = plan_repro(repository.index.graph, stages)
                changed = any(stage.changed() for stage in plan if not getattr(stage, "always_changed", False))
                return [stage.name for stage in stages] if changed else []

        return self._with_repository(look)

    def reproduce(self, stage: str, *, alone: bool = False) -> bool:
        """Bring a stage and all before it up to date, as ``dvc repro STAGE`` does.

        Args:
            stage: A name as ``stages_to_run`` gives it, such as ``build@bottle``.
            alone: Leave out the stages before it, because they are up to date.

        Returns:
            Whether the stage itself had to run (or came out of DVC's cache of earlier runs).

        Raises:
            PatchcoreError: what ended the stage's process: the same kind, the same words.
            Refused: another process holds DVC's lock, or data that the stage needs is missing.
            Fault: the stage failed without words.
        """
        with tempfile.TemporaryDirectory() as folder:
            error_file = Path(folder) / "error.json"
            environment = self._stage_environment(error_file)
            try:
                done = self._with_repository(
                    lambda repository: repository.reproduce(stage, single_item=alone, run_env=environment)
                )
            except Refused:
                raise
            except Fault as fault:
                raise _stage_error(stage, fault, error_file) from fault.__cause__
        return any(getattr(entry, "name", None) == stage for entry in done)

    def push(self) -> bool:
        """Send what DVC keeps to its default remote; return False where none is set.

        Raises:
            Fault: the remote does not take it.
        """

        def send(repository: Any) -> bool:
            remote = repository.config["core"].get("remote")
            if not remote:
                return False
            try:
                repository.push()
            except Exception as error:  # every kind of remote brings exceptions of its own
                raise Fault(
                    f"DVC remote {remote!r} did not take the data",
                    got=f"{type(error).__name__}: {error}",
                    expected="a complete push",
                    remedy="check the remote with: dvc push",
                ) from error
            return True

        return self._with_repository(send)

    def commit(self, paths: Sequence[Path], message: str) -> str | None:
        """Commit exactly these paths to git; see ``Git.commit``."""
        return self._git.commit(paths, message)

    def committed_text(self, path: Path) -> str | None:
        """Return a file's text in the last git commit; None where it is in none."""
        return self._git.committed_text(path)

    def head(self) -> str | None:
        """Return the git commit of the workspace; None before the first one."""
        return self._git.head()

    def tag(self, name: str, message: str) -> None:
        """Let an annotated git tag say something about the present commit; see ``Git.tag``."""
        self._git.tag(name, message)

    def tags(self, prefix: str) -> dict[str, str | None]:
        """Return the message of every git tag whose name begins so, by its name; see ``Git.tags``."""
        return self._git.tags(prefix)

    def pointer_texts(self, category: str) -> dict[str, str]:
        """Return the text of each of a category's DVC pointers, by its path in the workspace."""
        pointers = (pointer for pointer in self._workspace.pointers(category) if pointer.is_file())
        return {self._workspace.relative(pointer): pointer.read_text(encoding="utf-8") for pointer in pointers}

    def _stages_of(self, repository: Any, category: str) -> list[Any]:
        from dvc.repo.reproduce import plan_repro

        # Pointers (train.dvc) stand in the graph too; they have no name.
        stages = [stage for stage in plan_repro(repository.index.graph) if getattr(stage, "name", None)]
        found = [stage for stage in stages if stage.name.endswith(f"@{category}")]
        if not found:
            raise Refused(
                f"{self._workspace.pipeline} has no stage for category {category!r}",
                got=", ".join(stage.name for stage in stages) or "no stages",
                expected=f"stages named …@{category}",
                remedy=f"add the category with: patchcore add {category} FOLDER",
            )
        return found

    def _initialise_dvc(self) -> None:
        with _quiet():
            from dvc.repo import Repo

            # Without its config, a folder .dvc is what a crash left of an earlier attempt: force clears it.
            repository = Repo.init(str(self._workspace.root), force=True)
            with repository.config.edit("repo") as settings:
                settings["core"]["analytics"] = False
            repository.close()

    def _stage_environment(self, error_file: Path) -> dict[str, str]:
        return {
            **NO_TELEMETRY,
            ERROR_FILE: str(error_file),
            "PATH": search_path(str(Path(sys.executable).parent)),  # dvc.yaml says `python`: this one
            "PATCHCORE_WORKSPACE": str(self._workspace.root),
        }

    def _with_repository(self, action: Callable[[Any], _Result]) -> _Result:
        """Run an action on the DVC repository; wait for other processes, and put DVC's errors into our words."""
        deadline = time.monotonic() + self._lock_wait
        while True:
            try:
                # DVC takes the current folder for its own, and a process has only one.
                with _IN_THE_WORKSPACE, chdir(self._workspace.root), _quiet(), self._opened() as repository:
                    return action(repository)
            except PatchcoreError:
                raise
            except Exception as error:
                if not _is_about_a_lock(error):
                    raise self._translated(error) from error
                if time.monotonic() >= deadline:
                    raise self._busy(error) from error
            time.sleep(0.2)

    @contextmanager
    def _opened(self) -> Iterator[Any]:
        from dvc.repo import Repo, lock_repo

        with Repo(str(self._workspace.root)) as repository:
            with lock_repo(repository):
                mend(self._workspace.root)
            yield repository

    def _translated(self, error: Exception) -> PatchcoreError:
        """Return DVC's error as ours; one that is not DVC's is a mistake of our own and passes as it is."""
        from dvc.exceptions import DvcException
        from dvc.stage.exceptions import MissingDataSource, StageCmdFailedError

        causes = list(_chain(error))
        if not any(isinstance(cause, DvcException | OSError) for cause in causes):
            raise error
        words = "; ".join(str(cause) for cause in causes)
        what = f"DVC failed in {self._workspace.root}"
        if any(isinstance(cause, StageCmdFailedError) for cause in causes):
            return Fault(what, got=words, expected="a stage that ends well", remedy="read what the stage printed")
        if not any(isinstance(cause, DvcException) for cause in causes):
            return Fault(
                what, got=words, expected="a disk that takes it", remedy="make room, then run the command again"
            )
        if any(isinstance(cause, MissingDataSource) for cause in causes) or "missing data" in words:
            return Refused(what, got=words, expected="the data", remedy="fetch it with: dvc pull")
        return Refused(what, got=words, expected="a workspace that DVC can read", remedy="mend what DVC names")

    def _busy(self, error: Exception) -> Refused:
        holders = re.findall(r"PID (\d+)", " ".join(map(str, _chain(error)))) or _lock_holder(self._workspace.root)
        return Refused(
            f"the DVC repository {self._workspace.root} is busy",
            got=f"its lock held by process {', '.join(holders) or 'unknown'} for more than {self._lock_wait:g} s",
            expected="one command at a time",
            remedy="wait for that process to end, or stop it, then run the same command again",
        )


def code_version() -> str:
    """Return the library's version and, where it runs from a checkout, the commit: ``0.1.0+v0.1.0-3-gabc1234``."""
    describe = Git(Path(patchcore.__file__).parent).describe()
    return f"{patchcore.__version__}+{describe}" if describe else patchcore.__version__


def _stage_error(stage: str, fault: Fault, error_file: Path) -> PatchcoreError:
    """Return the error that the stage's process wrote down, or the fault that it died silently."""
    try:
        written = json.loads(error_file.read_text(encoding="utf-8"))
        words = [str(written[key]) for key in ("what", "got", "expected", "remedy")]
    except (OSError, ValueError, KeyError):
        remedy = f"run it alone: dvc repro --single-item {stage}"
        return StageFailed(f"stage {stage} failed", got=fault.got, expected="a stage that ends well", remedy=remedy)
    return error_types().get(written.get("code"), StageFailed)(*words)


def _chain(error: BaseException) -> Iterable[BaseException]:
    following: BaseException | None = error
    while following is not None:
        yield following
        following = following.__cause__


def _is_about_a_lock(error: Exception) -> bool:
    from dvc.lock import LockError

    return any(isinstance(cause, LockError) for cause in _chain(error))


def _lock_holder(root: Path) -> list[str]:
    """Return the process that DVC's lock file names, if it names one."""
    try:
        return re.findall(r"\d+", (root / ".dvc" / "tmp" / "lock").read_text(encoding="utf-8"))
    except OSError:
        return []


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what DVC would tell a person at its own command line off our output; its warnings stay."""
    import logging

    from dvc.logger import set_loggers_level

    with set_loggers_level(logging.WARNING):
        yield
