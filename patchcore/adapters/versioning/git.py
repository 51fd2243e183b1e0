"""Git for a workspace: commits of exact paths, which do not touch other staged files."""

import fcntl
import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from patchcore.config.environment import for_child
from patchcore.errors import GitFailed, Refused, WorkspaceBusy

# Git sets these while it runs a hook; they would direct our commands to the repository of that hook.
_FOREIGN = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR")
_FALLBACK_IDENTITY = ("-c", "user.name=patchcore", "-c", "user.email=patchcore@localhost")


class Git:
    """The git repository of a folder: the folder is the work tree, or is inside it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def initialise(self) -> None:
        """Make the folder the top of its own work tree, if it is not one already."""
        top = self._run("rev-parse", "--show-toplevel")
        if top.returncode or Path(top.stdout.strip()).resolve() != self._folder.resolve():
            self._demand("init", "--quiet", "--initial-branch=main")

    def head(self) -> str | None:
        """Return the commit that is checked out, 40 hexadecimal digits; None before the first one."""
        result = self._run("rev-parse", "--verify", "--quiet", "HEAD^{commit}")
        return None if result.returncode else result.stdout.strip()

    def committed_text(self, path: Path) -> str | None:
        """Return a file's text in the last commit; None if it is not in it."""
        result = self._run("show", f"HEAD:./{path.relative_to(self._folder).as_posix()}")
        return None if result.returncode else result.stdout

    def commit(self, paths: Sequence[Path], message: str) -> str | None:
        """Commit the content of exactly these files and folders; everything else that is staged stays staged.

        Args:
            paths: Files or folders. One that neither exists nor is tracked is ignored; one that was deleted is
                committed as deleted.
            message: The commit message.

        Returns:
            The new commit; None if nothing changed.

        Raises:
            Refused: Git declines, for example during a merge, or a hook declines.
            WorkspaceBusy: Another git is working in the repository.
            GitFailed: Git is missing or fails.
        """
        known = [str(path.absolute()) for path in paths if path.exists() or self._is_tracked(path)]
        if not known:
            return None
        with self._writing() as mark:
            self._demand("add", "--", *known, mark=mark)
            if not self._demand("status", "--porcelain", "--", *known, mark=mark).strip():
                return None
            words = (*self._identity(), "commit", "--quiet", "--only", "-m", message, "--", *known)
            result = self._run(*words, mark=mark)
        if result.returncode:
            raise Refused(
                f"git does not commit in {self._folder}",
                got=result.stderr.strip() or result.stdout.strip() or f"exit code {result.returncode}",
                expected="a commit",
                remedy="finish what git has begun, then run the same command again",
            )
        return self.head()

    def tag(self, name: str, message: str) -> None:
        """Make an annotated, unsigned tag of the present commit; a tag that has this name already stays as it is.

        Raises:
            GitFailed: There is no commit yet, or git fails.
        """
        if self._run("rev-parse", "--verify", "--quiet", f"refs/tags/{name}").returncode != 0:
            # A signature could ask for a passphrase; and the message must stay as it is.
            options = ("--annotate", "--no-sign", "--cleanup=verbatim", "--message", f"{message}\n")
            self._demand(*self._identity(), "tag", *options, name)

    def tags(self, prefix: str) -> dict[str, str | None]:
        """Return the first paragraph of the message of every tag whose name begins with a prefix, by its name.

        The message of a tag that is not annotated is None. Without a repository there are no tags.

        Raises:
            GitFailed: Git fails.
        """
        form = "--format=%(refname:strip=2)%00%(objecttype)%00%(contents:subject)%00"
        result = self._run("for-each-ref", form, f"refs/tags/{prefix}*")
        if result.returncode and "not a git repository" in result.stderr:
            return {}
        parts = self._output(result, "for-each-ref").split("\0")[:-1]
        found = zip(parts[::3], parts[1::3], parts[2::3], strict=True)
        return {name.lstrip("\n"): message if kind == "tag" else None for name, kind, message in found}

    def describe(self) -> str | None:
        """Return the nearest tag, the commit and whether the folder differs from it; None if git does not track it."""
        if self._run("ls-files", "--error-unmatch", "__init__.py").returncode:
            return None
        result = self._run("describe", "--tags", "--exclude", "patchcore-ledger-*", "--always", "--dirty")
        return None if result.returncode else result.stdout.strip()

    def _is_tracked(self, path: Path) -> bool:
        return self._run("ls-files", "--error-unmatch", "--", str(path.absolute())).returncode == 0

    def _identity(self) -> Sequence[str]:
        """Return options that name a committer if neither the environment nor git's configuration names one."""
        parts = ("GIT_AUTHOR_IDENT", "GIT_COMMITTER_IDENT")
        named = all(self._run("var", part).returncode == 0 for part in parts)
        return () if named else _FALLBACK_IDENTITY

    @contextmanager
    def _writing(self) -> Iterator[int]:
        """Mark that our git writes, and yield the mark's handle for git to inherit; remove the locks of a killed git.

        Git never removes the lock files of a git that was killed, and refuses to work while they are there. The mark is
        a file that is locked as long as this process or its git lives, and is not empty while git writes. So if it is
        not empty but can be locked, that git was killed, and the lock files since then are its own, unless another git
        works in the repository now.

        Raises:
            WorkspaceBusy: There are lock files, and another git works in the repository.
        """
        folder = Path(self._demand("rev-parse", "--absolute-git-dir").strip())
        with (folder / "patchcore").open("a+") as mark:
            fcntl.flock(mark, fcntl.LOCK_EX)
            begun = os.fstat(mark.fileno())
            if begun.st_size:
                self._remove_locks(folder, begun.st_mtime_ns)
            mark.truncate(0)
            mark.write("git is writing\n")
            mark.flush()
            try:
                yield mark.fileno()
            finally:
                mark.truncate(0)

    def _remove_locks(self, folder: Path, since: int) -> None:
        for lock in folder.rglob("*.lock"):
            with suppress(FileNotFoundError):  # its owner removed it meanwhile
                if lock.stat().st_mtime_ns < since:
                    continue
                if self._another_git_works_here():
                    raise WorkspaceBusy(
                        f"git is working in {self._folder}",
                        got=f"its lock {lock}",
                        expected="no other git that writes there",
                        remedy="wait until it ends, then run the same command again",
                    )
                lock.unlink()

    def _another_git_works_here(self) -> bool:
        """Say whether another git runs in this work tree; known on Linux only."""
        top = Path(self._demand("rev-parse", "--show-toplevel").strip()).resolve()
        for process in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):  # it has ended, or belongs to another user
                if (process / "comm").read_text().strip() == "git" and (process / "cwd").resolve().is_relative_to(top):
                    return True
        return False

    def _demand(self, *arguments: str, mark: int | None = None) -> str:
        return self._output(self._run(*arguments, mark=mark), arguments[0])

    def _output(self, result: subprocess.CompletedProcess[str], command: str) -> str:
        if result.returncode:
            raise GitFailed(
                f"git {command} failed in {self._folder}",
                got=result.stderr.strip() or f"exit code {result.returncode}",
                expected="exit code 0",
                remedy="repair what git names, then run the same command again",
            )
        return result.stdout

    def _run(self, *arguments: str, mark: int | None = None) -> subprocess.CompletedProcess[str]:
        command = ["git", "-C", str(self._folder), *arguments]
        try:
            return subprocess.run(
                command,
                env=for_child({"LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0"}, without=_FOREIGN),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                encoding="utf-8",
                errors="replace",  # text in another encoding is no reason to fail
                check=False,
                pass_fds=() if mark is None else (mark,),
            )
        except FileNotFoundError as error:
            raise GitFailed("git is missing", got="no git on the PATH", expected="git", remedy="install git") from error
