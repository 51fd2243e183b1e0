"""A withdrawal that is killed at any change on disk: the same call finishes it, and leaves nothing behind."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from patchcore._util.files import read_json
from patchcore.errors import CannotWithdraw
from patchcore.lifecycle.dataset_records import record_dataset
from patchcore.lifecycle.intake.withdrawal import withdraw
from patchcore.lifecycle.services import Services, open_services
from patchcore.lifecycle.setup.add import take_in
from patchcore.lifecycle.setup.create import init


class KilledError(BaseException):
    """Stands for SIGKILL."""


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with one small category, its data-set version recorded."""
    folder = tmp_path_factory.mktemp("withdrawals")
    generator = np.random.default_rng(0)
    for name in (*(f"train/good/{number}.png" for number in range(3)), "test/good/a.png", "test/crack/b.png"):
        path = folder / "part" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(generator.integers(0, 256, (16, 16), dtype=np.uint8)).save(path)
    workspace = init(folder / "workspace")
    take_in(workspace, "part", folder / "part")
    record_dataset(open_services(workspace.root), "part")
    return workspace.root


@pytest.fixture
def services(template: Path, tmp_path: Path) -> Services:
    return open_services(shutil.copytree(template, tmp_path / "workspace", symlinks=True))


def kill_at(monkeypatch: pytest.MonkeyPatch, at: int) -> None:
    """Stop at the so-manieth change on disk that the library makes, and let nothing happen after it."""
    changes = iter(range(1, 1_000))
    stopped: list[bool] = []

    def stopping(original: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object, **named: object) -> object:
            if not stopped and next(changes) == at:
                stopped.append(True)
            if stopped:
                raise KilledError
            return original(*arguments, **named)

        return call

    for name in ("rename", "replace", "unlink"):
        monkeypatch.setattr(Path, name, stopping(getattr(Path, name)))
    monkeypatch.setattr(os, "fsync", stopping(os.fsync))


@pytest.mark.parametrize("at", range(1, 10))
def test_the_same_call_finishes_a_withdrawal_that_was_killed(
    services: Services, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    workspace = services.workspace
    with monkeypatch.context() as patch, services.alone():
        kill_at(patch, at)
        with pytest.raises(KilledError):
            withdraw(services, "part", "1.png", "a crack")
    images = [*workspace.good_normals("part").glob("1.png"), *workspace.quarantine("part").glob("*-1.png")]
    assert len(images) == 1  # in one place, whole
    with services.alone():
        done = withdraw(services, "part", "1.png", "a crack")
    assert (done.dataset.number, done.dataset.normals) == (2, 2)
    note = workspace.root / f"{done.quarantined}.reason.json"
    assert read_json(note) == {"source": done.path, "reason": "withdrawn: a crack", "sha256": done.sha256}
    assert len(services.ledger.events("part", "withdraw")) == 1
    assert list(workspace.withdrawals("part").iterdir()) == []
    with services.alone(), pytest.raises(CannotWithdraw, match="not withdrawn from part once more"):
        withdraw(services, "part", done.sha256, "a scratch")


def test_an_image_that_came_back_can_be_withdrawn_for_another_reason_after_a_kill(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = services.workspace
    first = withdraw(services, "part", "1.png", "a crack")
    shutil.copy(workspace.root / first.quarantined, workspace.root / first.path)
    with monkeypatch.context() as patch:
        patch.setattr(
            "patchcore.lifecycle.intake.withdrawal.note_arrivals", lambda *_: (_ for _ in ()).throw(KilledError)
        )
        with pytest.raises(KilledError):
            withdraw(services, "part", "1.png", "a scratch")
    withdraw(services, "part", "1.png", "a scratch")
    assert [event.summary["reason"] for event in services.ledger.events("part", "withdraw")] == ["a crack", "a scratch"]
