"""How often ingest and withdraw do the same work: images are digested at most twice, the services opened once."""

import hashlib
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest

from patchcore._util.files import sha256_of
from patchcore.cli.demo.data import DemoImages
from patchcore.config import params
from patchcore.config.workspace import Workspace
from patchcore.lifecycle import services

Run = Callable[..., CompletedProcess[str]]


def images_of(*folders: Path) -> set[str]:
    return {sha256_of(path) for folder in folders for path in folder.rglob("*.png")}


@pytest.fixture
def digested(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often this process took the sha256 of each content, by its digest."""
    real, counts = hashlib.sha256, Counter[str]()

    class Counted:
        def __init__(self, *content: bytes, **options: Any) -> None:
            self._hash = real(*content, **options)

        def hexdigest(self) -> str:
            counts[self._hash.hexdigest()] += 1
            return self._hash.hexdigest()

        def __getattr__(self, name: str) -> Any:
            return getattr(self._hash, name)

    monkeypatch.setattr(hashlib, "sha256", Counted)
    return counts


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often the parameters were parsed and each service was opened."""
    counts = Counter[str]()

    def count(module: Any, name: str) -> None:
        real = getattr(module, name)

        def counting(*arguments: object) -> object:
            counts[name] += 1
            return real(*arguments)

        monkeypatch.setattr(module, name, counting)

    for module, name in (
        *((services, name) for name in ("load_params", "open_ledger", "open_registry", "Versioning")),
        (params, "load_params"),  # of modules that import it when they use it
    ):
        count(module, name)
    return counts


def test_ingest_and_withdraw_digest_each_image_at_most_twice_and_open_the_services_once(
    bare: Workspace,
    copy: Callable[[Workspace, Path], Workspace],
    cells: DemoImages,
    run: Run,
    tmp_path: Path,
    digested: Counter[str],
    called: Counter[str],
) -> None:
    workspace = copy(bare, tmp_path / "workspace")
    photos = tmp_path / "photos"
    photos.mkdir()
    for image in cells.new:
        shutil.copy2(image, photos)
    images = images_of(workspace.category("cell"), photos)
    assert len(images) == 24 + 12 + 6
    once = {"load_params": 1, "open_ledger": 1, "open_registry": 1, "Versioning": 1}
    withdrawn = sorted(workspace.good_normals("cell").iterdir())[0]
    for command in (("ingest", "cell", photos), ("withdraw", "cell", withdrawn, "--reason", "a crack")):
        digested.clear()
        called.clear()
        done = run(*command, "--json", "-w", workspace.root)
        assert done.returncode == 0, done.stderr
        counts = Counter({sha256: digested[sha256] for sha256 in images})
        assert counts.most_common(1)[0][1] <= 2, command
        assert called == once, command
