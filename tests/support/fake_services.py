"""Services for tests of verification and anchoring: a filled ledger, git, and notes without MLflow."""

import subprocess
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from patchcore.adapters.mlflow.registry import Registry
from patchcore.config.workspace import Workspace
from patchcore.errors import Fault
from patchcore.lifecycle.services import Services, open_services
from tests.support.ledgers import fill


class Notes:
    """A registry that only keeps notes; reading one fails while it does not answer."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}
        self.answers = True

    def note(self, category: str, name: str) -> str | None:
        """Return the note of a category."""
        if not self.answers:
            raise Fault("MLflow", got="connection refused", expected="an answer", remedy="start the server")
        return self.texts.get(category)

    def set_note(self, category: str, name: str, text: str) -> None:
        """Keep the note of a category."""
        self.texts[category] = text


@pytest.fixture
def notes() -> Notes:
    """The notes in which MLflow keeps anchors."""
    return Notes()


@pytest.fixture
def services(empty_workspace: Workspace, notes: Notes) -> Services:
    """A workspace in a git repository with one commit, whose ledger `fill` filled."""
    git(empty_workspace.root, "init", "--quiet", "--initial-branch=main")
    git(empty_workspace.root, "commit", "--quiet", "--allow-empty", "--message", "The first one")
    opened = open_services(empty_workspace.root)
    fill(opened.ledger)
    return replace(opened, registry=cast("Registry", notes))


def git(folder: Path, *words: str) -> str:
    """Run git with the name of a user, and return its output."""
    person = ("-c", "user.name=eve", "-c", "user.email=eve@localhost")
    done = subprocess.run(["git", *person, *words], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout
