"""How often retrain does the same work: in the command's own process, and in the process of each stage."""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from patchcore._util.files import sha256_of
from patchcore.bank import format as bank_format
from patchcore.cli.demo.data import DemoImages, drop_new
from patchcore.config import params
from patchcore.config.workspace import Workspace
from patchcore.lifecycle import services
from tests.support.places import REPOSITORY

Run = Callable[..., CompletedProcess[str]]
Copy = Callable[[Workspace, Path], Workspace]
ONCE = {"load_params": 1, "open_ledger": 1, "open_registry": 1, "Versioning": 1}

# Runs in every Python process that a command starts: counts the digests by their value, and the files that are opened
# for reading by their path.
SITE = """
import atexit, collections, hashlib, json, os, sys

digests, opened, real = collections.Counter(), collections.Counter(), hashlib.sha256

class Counted:
    def __init__(self, *content, **options):
        self._hash = real(*content, **options)
    def hexdigest(self):
        digests[self._hash.hexdigest()] += 1
        return self._hash.hexdigest()
    def __getattr__(self, name):
        return getattr(self._hash, name)

def hook(event, arguments):
    if event == "open" and isinstance(arguments[0], str) and (arguments[1] or "r")[0] == "r":
        opened[arguments[0]] += 1

def save():
    content = {"arguments": sys.argv[1:], "digests": dict(digests), "opened": dict(opened)}
    with open(os.path.join(os.environ["COUNTS"], f"{os.getpid()}.json"), "w") as stream:
        json.dump(content, stream)

hashlib.sha256 = Counted
sys.addaudithook(hook)
atexit.register(save)
"""


@dataclass(frozen=True)
class Counts:
    """What was counted so far: in this process, and in a folder with a file for each process that it started."""

    digests: Counter[str]
    calls: Counter[str]
    banks: Counter[Path]
    children: Path

    def clear(self) -> None:
        for counter in (self.digests, self.calls, self.banks):
            counter.clear()
        for file in self.children.iterdir():
            file.unlink()

    def stages(self) -> dict[str, Any]:
        """What each stage counted, by its name."""
        found = (json.loads(file.read_text()) for file in self.children.iterdir())
        return {each["arguments"][0]: each for each in found if each["arguments"]}


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Counts:
    site, children = tmp_path / "site", tmp_path / "counts"
    site.mkdir()
    children.mkdir()
    (site / "sitecustomize.py").write_text(SITE)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(site), str(REPOSITORY))))
    monkeypatch.setenv("COUNTS", str(children))
    found = Counts(Counter(), Counter(), Counter(), children)
    real = hashlib.sha256

    class Counted:
        def __init__(self, *content: bytes, **options: Any) -> None:
            self._hash = real(*content, **options)

        def hexdigest(self) -> str:
            found.digests[self._hash.hexdigest()] += 1
            return self._hash.hexdigest()

        def __getattr__(self, name: str) -> Any:
            return getattr(self._hash, name)

    def count(module: Any, name: str) -> None:
        function = getattr(module, name)

        def counting(*arguments: object) -> object:
            found.calls[name] += 1
            return function(*arguments)

        monkeypatch.setattr(module, name, counting)

    def check_digest(path: Path, expected: str) -> None:
        found.banks[path] += 1
        checked(path, expected)

    checked = bank_format._check_digest
    monkeypatch.setattr(bank_format, "_check_digest", check_digest)
    monkeypatch.setattr(hashlib, "sha256", Counted)
    for name in ONCE:
        count(services, name)
    count(params, "load_params")  # of modules that import it when they use it
    return found


def images_of(*folders: Path) -> set[str]:
    return {sha256_of(path) for folder in folders for path in folder.rglob("*.png")}


def test_retrain_opens_the_services_once_and_reads_each_image_and_bank_at_most_once_in_a_process(
    promoted: Workspace, copy: Copy, cells: DemoImages, run: Run, tmp_path: Path, counts: Counts
) -> None:
    workspace = copy(promoted, tmp_path / "workspace")
    drop_new(cells, workspace.drop("cell"))
    assert run("ingest", "cell", "-w", workspace.root).returncode == 0
    images = images_of(workspace.category("cell"))
    counts.clear()
    done = run("retrain", "cell", "--json", "-w", workspace.root)
    value = json.loads(done.stdout)
    assert (value["new"], value["promoted"]) == (True, True), done.stderr
    assert counts.calls == ONCE
    assert set(counts.banks.values()) == {1}
    stages = counts.stages()
    assert stages.keys() == {"fingerprint", "validate", "extract", "build", "evaluate"}
    processes = [counts.digests, *(Counter(stage["digests"]) for stage in stages.values())]
    assert all(digests[sha256] <= 2 for digests in processes for sha256 in images)
    assert all(stage["opened"].get(str(workspace.params), 0) <= 1 for stage in stages.values())
    bank = {sha256_of(file) for file in workspace.bank("cell").iterdir()}
    assert max(stages["evaluate"]["digests"].get(sha256, 0) for sha256 in bank) == 1

    counts.clear()
    done = run("retrain", "cell", "--json", "-w", workspace.root)
    value = json.loads(done.stdout)
    assert (done.returncode, value["new"], value["promoted"]) == (0, False, False), done.stderr
    assert counts.calls == ONCE
    assert max(counts.digests[sha256] for sha256 in images) <= 1
    assert counts.banks == {}
    assert counts.stages() == {}
