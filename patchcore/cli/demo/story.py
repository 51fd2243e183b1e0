"""The main job on real images: two data-set versions, two banks, two batches, and an audit."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console

from patchcore.cli.demo.data import choose_images, drop_new, fill_batch, lay_out
from patchcore.cli.display import lifecycle as display
from patchcore.errors import Fault, Refused
from patchcore.config.environment import set_values, unset
from patchcore.config.workspace import Workspace
from patchcore.lifecycle.services import open_services

_MARK = ".patchcore-demo"
_CATEGORY = "solar"
_SERVICES = ("MLFLOW_", "PREFECT_", "PATCHCORE_LEDGER_URL")  # how the names of settings begin
Run = Callable[[list[str]], int]


def play(folder: Path, run: Run) -> None:
    """Make a workspace in ``folder`` and live through a bank's first weeks in it.

    Args:
        folder: where; what an earlier demo left there is replaced, anything else is refused.
        run: runs a command of `patchcore` and returns its exit code.

    Raises:
        Refused: the folder holds something else, or the demo's images are not installed.
        Fault: a command failed.
    """
    _clear(folder)
    _forget_services()
    story = _Story(folder.resolve(), run)
    story.first_bank()
    story.first_batch()
    story.new_images()
    story.second_bank()
    story.second_batch()
    story.audit()
    story.end()


class _Story:
    def __init__(self, folder: Path, run: Run) -> None:
        self._run = run
        self._started = time.monotonic()
        self._images = choose_images("mono", seed=0)
        self._folder = folder
        self.workspace = Workspace(folder / "workspace")
        self._console = Console(highlight=False, soft_wrap=True)
        set_values({"PATCHCORE_WORKSPACE": str(self.workspace.root)})

    def first_bank(self) -> None:
        source = self._folder / "solar_cells"
        self._tell("200 normal solar cells become data-set version 1, and the first bank")
        lay_out(self._images, source)
        self._command("init", str(self.workspace.root))
        self._command("add", _CATEGORY, str(source))
        self._command("retrain", _CATEGORY)

    def first_batch(self) -> None:
        self._tell("A batch from the line, 6 of its 24 cells defective")
        fill_batch(self._images.batches[0], self._folder / "line" / "4711")
        self._command("score", _CATEGORY, str(self._folder / "line" / "4711"), "--batch", "4711")

    def new_images(self) -> None:
        self._tell("60 new normal cells arrive in the drop folder, and four files that are no good")
        drop_new(self._images, self.workspace.drop(_CATEGORY))
        self._command("ingest", _CATEGORY)

    def second_bank(self) -> None:
        self._tell(
            "The bank grows by the new cells, and is compared with the one in production on the same evaluation set"
        )
        self._command("retrain", _CATEGORY)

    def second_batch(self) -> None:
        self._tell("The next batch is scored by whatever is in production now")
        fill_batch(self._images.batches[1], self._folder / "line" / "4712")
        self._command("score", _CATEGORY, str(self._folder / "line" / "4712"), "--batch", "4712")

    def audit(self) -> None:
        self._tell("Months later, somebody asks: which bank passed batch 4711, and why?")
        self._command("audit", "batch", "4711")
        self._command("audit", "batch", "4712")
        self._command("audit", "bank", _CATEGORY, "1")
        self._command("audit", "verify")

    def end(self) -> None:
        self._tell(f"Done in {time.monotonic() - self._started:.0f} s: two banks, each with all that it came from")
        display.lineage(self._lineage())
        self._tell("Look at what happened")
        state = self.workspace
        for line in (
            f"heatmaps of batch 4711    {state.batch('4711') / 'heatmaps'}",
            f"its contact sheet         {state.batch('4711') / 'contact_sheet.png'}",
            f"how the images were       {state.data_docs(_CATEGORY) / 'index.html'}",
            f"quarantine                {state.quarantine(_CATEGORY)}",
            "",
            "MLflow, then open http://127.0.0.1:5000/#/models/solar and",
            "http://127.0.0.1:5000/#/experiments/1/runs?workflowType=machine_learning",
            f"  .venv/bin/mlflow ui --port 5000 --backend-store-uri sqlite:///{state.registry}",
            "Prefect, then open http://127.0.0.1:4200/runs",
            f"  PREFECT_HOME={state.prefect_home} .venv/bin/prefect server start --port 4200",
            "Your own images",
            "  see the README: patchcore init, patchcore add, patchcore retrain",
        ):
            self._console.print(f"  {line}", markup=False)

    def _lineage(self) -> list[dict[str, Any]]:
        """Return one row per bank version: what it was built from, how good it is, which batches it scored."""
        services = open_services(self.workspace.root)
        rows = []
        for version in services.registry.versions(_CATEGORY):
            dataset = services.ledger.dataset(_CATEGORY, version.dataset_version)
            batches = services.ledger.batches_of_bank(_CATEGORY, version.version)
            rows.append(
                {
                    "bank version": version.version,
                    "data-set version": version.dataset_version,
                    "normal images": dataset.normals if dataset else "unknown",
                    "image AUROC": f"{version.metrics['image_auroc']:.4f}",
                    "threshold": f"{version.metrics['threshold']:.2f}",
                    "batches": ", ".join(batch.batch for batch in batches),
                }
            )
        return rows

    def _tell(self, text: str) -> None:
        self._console.print()
        self._console.print(f"# {text}", style="bold cyan", markup=False)

    def _command(self, *arguments: str) -> None:
        shown = [argument.replace(f"{self._folder}/", f"{self._folder.name}/") for argument in arguments]
        self._console.print(f"\n[bold]$ patchcore {' '.join(shown)}[/bold]")
        if code := self._run(list(arguments)):
            raise Fault(
                f"patchcore {arguments[0]} failed in the demo",
                f"exit code {code}",
                "exit code 0",
                "read the error above",
            )


def _forget_services() -> None:
    """Remove from this process's environment the settings of outside services.

    A person's shell may name the plant's MLflow, Prefect and ledger in many settings, and the demo must never write its
    promotions and batches there. Each command disables the telemetry of these libraries again.
    """
    unset(_SERVICES)


def _clear(folder: Path) -> None:
    """Make the demo's folder, empty but for its mark."""
    if folder.exists() and not (folder / _MARK).is_file() and any(folder.iterdir()):
        raise Refused(
            f"{folder} is not empty",
            got="files of somebody else",
            expected="an empty folder",
            remedy="name another one",
        )
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / _MARK).touch()
