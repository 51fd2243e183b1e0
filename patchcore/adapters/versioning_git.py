"""Git, as far as a workspace needs it: commits of exact paths that never touch what somebody else staged."""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from patchcore.errors import Fault, Refused

# Set while git runs a hook: they would send our commands to the repository of that hook.
_FOREIGN = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR")
_FALLBACK_IDENTITY = ("-c", "user.name=patchcore", "-c", "user.email=patchcore@localhost")


class Git:
    """The git repository whose work tree is, or holds, a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def initialise(self) -> None:
        """Make the folder the top of a work tree of its own, if it is not one already."""
        top = self._run("rev-parse", "--show-toplevel")
        if top.returncode or Path(top.stdout.strip()).resolve() != self._folder.resolve():
            self._demand("init", "--quiet", "--initial-branch=main")

    def head(self) -> str | None:
        """Return the commit that is checked out, 40 hexadecimal digits; None before the first one."""
        result = self._run("rev-parse", "--verify", "--quiet", "HEAD^{commit}")
        return None if result.returncode else result.stdout.strip()

    def committed_text(self, path: Path) -> str | None:
        """Return a file's text as it stands in the last commit; None where it is in none."""
        result = self._run("show", f"HEAD:./{path.relative_to(self._folder).as_posix()}")
        return None if result.returncode else result.stdout

    def commit(self, paths: Sequence[Path], message: str) -> str | None:
        """Commit the content of exactly these files and folders; what is staged elsewhere stays staged.

        Args:
            paths: Files or folders; one that neither exists nor is tracked is passed over, a deleted one is committed
                as deleted.
            message: The commit message.

        Returns:
            The new commit, or None where nothing had changed.

        Raises:
            Refused: git declines, for example in the middle of a merge, or because a hook does.
            Fault: there is no git, or it fails.
        """
        known = [str(path.absolute()) for path in paths if path.exists() or self._is_tracked(path)]
        if not known:
            return None
        self._demand("add", "--", *known)
        if not self._demand("status", "--porcelain", "--", *known).strip():
            return None
        result = self._run(*self._identity(), "commit", "--quiet", "--only", "-m", message, "--", *known)
        if result.returncode:
            raise Refused(
                f"git does not commit in {self._folder}",
                got=result.stderr.strip() or result.stdout.strip() or f"exit code {result.returncode}",
                expected="a commit",
                remedy="finish what git is in the middle of, then run the same command again",
            )
        return self.head()

    def tag(self, name: str, message: str) -> None:
        """Let an annotated tag say something about the present commit; one of that name stays as it is.

        Raises:
            Fault: There is no commit yet, or git fails.
        """
        if self._run("rev-parse", "--verify", "--quiet", f"refs/tags/{name}").returncode != 0:
            self._demand(*self._identity(), "tag", "--annotate", "--message", message, name)

    def tags(self, prefix: str) -> dict[str, str]:
        """Return the message of every annotated tag whose name begins so, by its name."""
        listed = self._run("for-each-ref", "--format=%(refname:short)%00%(contents)%00", f"refs/tags/{prefix}*").stdout
        parts = listed.split("\0")
        return {name.strip(): message.strip() for name, message in zip(parts[::2], parts[1::2], strict=False)}

    def describe(self) -> str | None:
        """Return the nearest tag, commit and whether the folder differs from it; None where git does not track it."""
        if self._run("ls-files", "--error-unmatch", "__init__.py").returncode:
            return None
        result = self._run("describe", "--tags", "--exclude", "patchcore-ledger-*", "--always", "--dirty")
        return None if result.returncode else result.stdout.strip()

    def _is_tracked(self, path: Path) -> bool:
        return self._run("ls-files", "--error-unmatch", "--", str(path.absolute())).returncode == 0

    def _identity(self) -> Sequence[str]:
        """Return options that name a committer where neither the environment nor git's configuration does."""
        parts = ("GIT_AUTHOR_IDENT", "GIT_COMMITTER_IDENT")
        named = all(self._run("var", part).returncode == 0 for part in parts)
        return () if named else _FALLBACK_IDENTITY

    def _demand(self, *arguments: str) -> str:
        result = self._run(*arguments)
        if result.returncode:
            raise Fault(
                f"git {arguments[0]} failed in {self._folder}",
                got=result.stderr.strip() or f"exit code {result.returncode}",
                expected="exit code 0",
                remedy="mend what git says, then run the same command again",
            )
        return result.stdout

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {name: value for name, value in os.environ.items() if name not in _FOREIGN}
        environment |= {"LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0"}
        command = ["git", "-C", str(self._folder), *arguments]
        try:
            return subprocess.run(
                command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
            )
        except FileNotFoundError as error:
            raise Fault("git is missing", got="no git on the PATH", expected="git", remedy="install git") from error
