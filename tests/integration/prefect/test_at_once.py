"""Several retrains started at the same moment, each a process of its own as a shift and a cron job start them."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from patchcore.config.workspace import Workspace
from patchcore.lifecycle.services import open_services
from tests.support.workspaces import without_prefect

Copy = Callable[[Workspace, Path], Workspace]
STAGES = ("validate", "extract", "build", "evaluate")


class Retrain:
    """A `patchcore retrain` that runs, and when its stages said that they were done."""

    def __init__(self, workspace: Workspace, category: str) -> None:
        words = [str(Path(sys.executable).with_name("patchcore")), "retrain", category, "--json"]
        own = without_prefect()
        self.process = subprocess.Popen(
            words, cwd=workspace.root, env=own, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.stages: list[tuple[str, float]] = []
        self.said = ""
        self._reading = threading.Thread(target=self._read)
        self._reading.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.said += line
            self.stages += [(stage, time.monotonic()) for stage in STAGES if line.strip().startswith(stage)]

    def result(self) -> dict[str, object]:
        assert self.process.stdout is not None
        said = self.process.stdout.read()
        code = self.process.wait()
        self._reading.join()
        assert code == 0, self.said
        value: dict[str, object] = json.loads(said)
        return value


def test_retrains_that_start_at_once_all_end_well_one_after_the_other(
    bare: Workspace, copy: Copy, run: Callable[..., object], tmp_path: Path
) -> None:
    workspace = copy(bare, tmp_path / "workspace")
    run("add", "other", bare.root.parent / "cells", "-w", workspace.root)
    started = [Retrain(workspace, category) for category in ("cell", "other", "cell")]
    first, other, second = (each.result() for each in started)

    # Of two for one category, the second finds nothing new: the same bank, decided on already.
    assert sorted([first["new"], second["new"]], key=bool) == [False, True]
    assert sorted([first["promoted"], second["promoted"]], key=bool) == [False, True]
    assert first["bank_version"] == second["bank_version"] == other["bank_version"] == 1
    assert first["bank_sha256"] == second["bank_sha256"]
    services = open_services(workspace.root)
    for category in ("cell", "other"):
        assert len(services.ledger.banks(category)) == len(services.ledger.history(category)) == 1
        assert len(services.ledger.events(category, "retrain")) == 1
        assert len(services.registry.versions(category)) == 1
        assert services.registry.alias(category) == 1

    # The stages of one category are all done before the first one of another is.
    spans = sorted((each.stages[0][1], each.stages[-1][1]) for each in started if each.stages)
    assert sorted({stage for each in started for stage, _ in each.stages}) == sorted(STAGES)
    assert len(spans) == 2
    assert spans[0][1] < spans[1][0]
