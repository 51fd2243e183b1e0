"""A workspace's DVC and git: DVC keeps the bytes and runs the stages, git keeps the pointers and reports."""

import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import chdir, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import patchcore
from patchcore.adapters.versioning.dvc_errors import busy, is_about_a_lock, stage_error, translated
from patchcore.adapters.versioning.dvc_repair import repair_dvc
from patchcore.adapters.versioning.git import Git
from patchcore.config.environment import NO_TELEMETRY, search_path
from patchcore.config.workspace import Workspace
from patchcore.errors import Fault, PatchcoreError, Refused, RemoteUnavailable, UnknownCategory

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
        """Make the folder a git and a DVC repository without telemetry; do nothing if it is one already.

        Returns:
            The files to commit to git.
        """
        self._git.initialise()
        root = self._workspace.root
        settings = root / ".dvc" / "config"
        if not settings.is_file():
            self._initialise_dvc()
        return [settings, root / ".dvc" / ".gitignore", root / ".dvcignore"]

    def track(self, folders: Sequence[Path]) -> None:
        """Add the present content of folders to DVC: the cache keeps it, and a pointer file names it.

        Raises:
            WorkspaceBusy: Another process holds DVC's lock.
            Refused: A stage already writes one of the folders.
        """
        paths = [str(folder.absolute()) for folder in folders]
        self._with_repository(lambda repository: repository.add(paths))

    def stages_to_run(self, category: str) -> list[str]:
        """Return the names of a category's stages, each after those it depends on; none if all are up to date.

        The repository is opened once for all stages. A stage that always runs counts by what it wrote last.

        Raises:
            UnknownCategory: dvc.yaml has no stage for the category.
            WorkspaceBusy: Another process holds DVC's lock.
            Refused: dvc.yaml cannot be read.
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
            alone: Leave out the stages before it; they are up to date.

        Returns:
            Whether the stage itself had to run, or DVC restored an earlier run of it.

        Raises:
            PatchcoreError: The error that ended the stage's process, with its class and words.
            WorkspaceBusy: Another process holds DVC's lock.
            DataMissing: Data that the stage needs is missing.
            StageFailed: The stage's process ended without an error of its own.
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
                raise stage_error(stage, fault, error_file) from fault.__cause__
        return any(getattr(entry, "name", None) == stage for entry in done)

    def push(self) -> bool:
        """Send what DVC keeps to its default remote; return False if there is no remote.

        Raises:
            RemoteUnavailable: The remote does not take it.
        """

        def send(repository: Any) -> bool:
            remote = repository.config["core"].get("remote")
            if not remote:
                return False
            try:
                repository.push()
            except Exception as error:  # every kind of remote has exceptions of its own
                raise RemoteUnavailable(
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
        """Return a file's text in the last git commit; None if it is not in it."""
        return self._git.committed_text(path)

    def head(self) -> str | None:
        """Return the git commit of the workspace; None before the first one."""
        return self._git.head()

    def tag(self, name: str, message: str) -> None:
        """Make an annotated git tag of the present commit; see ``Git.tag``."""
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

        # Pointers (train.dvc) are in the graph too; they have no name.
        stages = [stage for stage in plan_repro(repository.index.graph) if getattr(stage, "name", None)]
        found = [stage for stage in stages if stage.name.endswith(f"@{category}")]
        if not found:
            raise UnknownCategory(
                f"{self._workspace.pipeline} has no stage for category {category!r}",
                got=", ".join(stage.name for stage in stages) or "no stages",
                expected=f"stages named …@{category}",
                remedy=f"add the category with: patchcore add {category} FOLDER",
            )
        return found

    def _initialise_dvc(self) -> None:
        with _quiet():
            from dvc.repo import Repo

            # A folder .dvc without a config file is left from a crash: force clears it.
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
        """Run an action on the DVC repository; wait for other processes, and translate DVC's errors."""
        deadline = time.monotonic() + self._lock_wait
        while True:
            try:
                # DVC uses the current folder, and a process has only one.
                with _IN_THE_WORKSPACE, chdir(self._workspace.root), _quiet(), self._opened() as repository:
                    return action(repository)
            except PatchcoreError:
                raise
            except Exception as error:
                if not is_about_a_lock(error):
                    raise translated(self._workspace.root, error) from error
                if time.monotonic() >= deadline:
                    raise busy(self._workspace.root, error, self._lock_wait) from error
            time.sleep(0.2)

    @contextmanager
    def _opened(self) -> Iterator[Any]:
        from dvc.repo import Repo, lock_repo

        with Repo(str(self._workspace.root)) as repository:
            with lock_repo(repository):
                repair_dvc(self._workspace.root)
            yield repository


def code_version() -> str:
    """Return the library's version and, where it runs from a checkout, the commit: ``0.1.0+v0.1.0-3-gabc1234``."""
    describe = Git(Path(patchcore.__file__).parent).describe()
    return f"{patchcore.__version__}+{describe}" if describe else patchcore.__version__


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the messages of DVC's command line off our output; its warnings stay."""
    import logging

    from dvc.logger import set_loggers_level

    with set_loggers_level(logging.WARNING):
        yield
