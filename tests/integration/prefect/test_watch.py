"""`patchcore serve` notices new files by itself, with a Prefect server of its own, where nobody set one up."""

import asyncio
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from patchcore.cli.demo.data import DemoImages
from patchcore.config.workspace import Workspace
from patchcore.lifecycle.intake.file_stability import look
from patchcore.lifecycle.services import open_services
from tests.support.servers import running, wait_for
from tests.support.webhooks import SECRET, listening

Copy = Callable[[Workspace, Path], Workspace]
SETTLE = "settle_seconds: 10.0", "settle_seconds: 1.0"


def with_params(workspace: Workspace, *changes: tuple[str, str]) -> None:
    text = workspace.params.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    workspace.params.write_text(text)


def test_new_files_in_the_drop_folder_become_a_bank_in_production_and_somebody_is_told(
    promoted: Workspace, copy: Copy, cells: DemoImages, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    workspace = copy(promoted, tmp_path / "workspace")
    with_params(workspace, SETTLE)
    drop = workspace.drop("cell")
    drop.mkdir(parents=True)
    for image in cells.new[:3]:
        shutil.copy(image, drop)
    (drop / "half.png.part").write_bytes(cells.new[3].read_bytes()[:500])
    (drop / "note.txt").write_text("not an image")
    with listening() as hook:
        environment = {"PREFECT_HOME": str(tmp_path / "prefect"), "PATCHCORE_WEBHOOK_URL": hook.address}
        with running(["patchcore", "serve", "-w", str(workspace.root)], tmp_path, environment) as process:
            wait_for(lambda: len(hook.bodies) == 2, process)
            process.send_signal(signal.SIGINT)
            log = tmp_path / "log"
            assert process.wait(60) == 0, log.read_text()
        ingested, retrained = hook.bodies
    assert ingested["text"] == "cell: 3 new normal images, 1 in quarantine; data-set version 2 has 27 normal images"
    assert (retrained["outcome"], retrained["bank_version"], retrained["production"]) == ("promoted", 2, 2)
    assert retrained["text"] == "cell: bank version 2 from data-set version 2 is in production"
    assert [path.name for path in drop.iterdir()] == ["half.png.part"]
    ledger = open_services(workspace.root).ledger
    assert [event.sequence for event in ledger.events("cell", "ingest")] == [ingested["record"]]
    assert [event.summary["bank_version"] for event in ledger.events("cell", "retrain")][-1] == 2
    assert "retrain cell: 4 files wait" in log.read_text()
    assert SECRET not in log.read_text()
    prefect = (tmp_path / "prefect").rglob("*")
    assert not [path for path in prefect if path.is_file() and SECRET.encode() in path.read_bytes()]


@pytest.mark.usefixtures("run")  # Prefect has a home before it is imported
def test_the_same_files_are_the_same_run_of_prefect_and_others_are_another(promoted: Workspace, tmp_path: Path) -> None:
    from flows.deploy import deployments
    from flows.watch import start

    (tmp_path / "a.png").touch()
    files = look(tmp_path)
    (retrain,) = (each for each in deployments(str(promoted.root)) if each.name == "retrain-cell")

    async def runs() -> list[str]:
        await retrain.aapply()
        first = [await start(promoted, "cell", files) for _ in range(2)]
        os.utime(tmp_path / "a.png", ns=(1, 1))
        return [str(run) for run in (*first, await start(promoted, "cell", look(tmp_path)))]

    first, again, changed = asyncio.run(runs())
    assert first == again
    assert changed != first
