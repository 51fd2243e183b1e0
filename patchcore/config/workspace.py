"""The path of every file of a workspace. No other module names the files of a workspace."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from patchcore.errors import Refused

# Names in the folder of a batch's or an evaluation's results.
HEATMAPS, CONTACT_SHEET = "heatmaps", "contact_sheet.png"
RESULTS, RESULTS_TABLE, SCORES = "results.json", "results.parquet", "scores.csv"


@dataclass(frozen=True)
class Workspace:
    """A folder with git, DVC, params.yaml and dvc.yaml; every path below it is a method of this class."""

    root: Path

    # What git keeps.
    @property
    def params(self) -> Path:
        return self.root / "params.yaml"

    @property
    def pipeline(self) -> Path:
        return self.root / "dvc.yaml"

    @property
    def lock_file(self) -> Path:
        return self.root / "dvc.lock"

    @property
    def ignore_file(self) -> Path:
        return self.root / ".gitignore"

    @property
    def code_link(self) -> Path:
        """A link to the library's code, which workspaces of version 0.1.0 have; `patchcore upgrade` removes it."""
        return self.root / "patchcore"

    # What DVC keeps: a category in MVTec layout. Each folder has a pointer beside it.
    def category(self, category: str) -> Path:
        return self.root / "data" / category

    def normals(self, category: str) -> Path:
        return self.category(category) / "train"

    def good_normals(self, category: str) -> Path:
        return self.normals(category) / "good"

    def evaluation(self, category: str) -> Path:
        return self.category(category) / "test"

    def ground_truth(self, category: str) -> Path:
        return self.category(category) / "ground_truth"

    def arrivals(self, category: str) -> Path:
        """The order in which the normal images arrived; see `patchcore.dataset.arrivals`."""
        return self.category(category) / "arrivals.json"

    def pointers(self, category: str) -> list[Path]:
        folders = (self.normals(category), self.evaluation(category), self.ground_truth(category))
        return [pointer_of(folder) for folder in folders]

    # What the stages write.
    def reports(self, category: str) -> Path:
        return self.root / "reports" / category

    def validation(self, category: str) -> Path:
        return self.reports(category) / "validation.json"

    def build_metrics(self, category: str) -> Path:
        return self.reports(category) / "bank.json"

    def metrics(self, category: str) -> Path:
        return self.reports(category) / "metrics.json"

    def roc_plot(self, category: str) -> Path:
        return self.reports(category) / "roc.csv"

    def histogram_plot(self, category: str) -> Path:
        return self.reports(category) / "histogram.csv"

    def radius_plot(self, category: str) -> Path:
        return self.reports(category) / "coreset_radius.csv"

    def manifest(self, category: str) -> Path:
        """The data-set version: every image of the category with its sha256."""
        return self.root / "work" / category / "manifest.json"

    def features_index(self, category: str) -> Path:
        return self.root / "work" / category / "features.json"

    def bank(self, category: str) -> Path:
        return self.root / "work" / category / "bank"

    def fingerprint(self, stage: str) -> Path:
        """What can change the result of a stage besides its data and parameters; see `patchcore.steps.fingerprint`."""
        return self.root / "work" / "fingerprints" / f"{stage}.json"

    @property
    def resolved_params(self) -> Path:
        """Every parameter with its value, those that params.yaml leaves out with their defaults."""
        return self.root / "work" / "fingerprints" / "params.json"

    def evaluation_results(self, category: str) -> Path:
        return self.root / "work" / category / "evaluation"

    # What a machine keeps for itself; git ignores it.
    def written_by_commands(self, categories: Iterable[str]) -> Iterator[Path]:
        """The folders that hold what ingest and retrain write file by file."""
        yield self.state / "facts"
        for category in categories:
            yield from (self.category(category), self.reports(category), self.root / "work" / category)
            yield from (self.covers(category), self.state / "digests" / category, self.withdrawals(category))

    def dvc_object(self, md5: str) -> Path:
        """What DVC keeps of this content; of a folder (its md5 ends in .dir) it is a list of its files."""
        return self.root / ".dvc" / "cache" / "files" / "md5" / md5[:2] / md5[2:]

    @property
    def state(self) -> Path:
        return self.root / ".patchcore"

    @property
    def busy_lock(self) -> Path:
        return self.state / "lock"

    @property
    def feature_store(self) -> Path:
        return self.state / "features"

    def covers(self, category: str) -> Path:
        """The rows that earlier builds chose, by what they were chosen from; see `patchcore.steps.coreset_cache`."""
        return self.state / "covers" / category

    def image_facts(self, category: str) -> Path:
        """What is known of images that were described before; see `patchcore.steps.facts_cache`."""
        return self.state / "facts" / f"{category}.cache"

    def feature_digests(self, category: str, fingerprint: str) -> Path:
        """The digests of features that were read before; see `patchcore.steps.feature_digests`."""
        return self.state / "digests" / category / f"{fingerprint[:16]}.cache"

    @property
    def runtime_cache(self) -> Path:
        """Networks as they were converted for a runtime; PATCHCORE_CACHE names a folder for all workspaces."""
        from patchcore.config.settings import read_settings

        return read_settings().cache or self.state / "runtime"

    @property
    def weights(self) -> Path:
        """Weights that params.yaml named once, each under its sha256, for the banks that were built with them."""
        return self.state / "weights"

    @property
    def bank_cache(self) -> Path:
        return self.state / "banks"

    @property
    def ledger(self) -> Path:
        return self.state / "ledger.db"

    @property
    def registry(self) -> Path:
        return self.state / "mlflow" / "mlflow.db"

    @property
    def registry_artifacts(self) -> Path:
        return self.state / "mlflow" / "artifacts"

    @property
    def prefect_home(self) -> Path:
        return self.state / "prefect"

    @property
    def archives(self) -> Path:
        """The archives of image records that the ledger no longer holds; PATCHCORE_ARCHIVE names another folder."""
        from patchcore.config.settings import read_settings

        return read_settings().archive or self.root / "archive"

    def data_docs(self, category: str) -> Path:
        return self.state / "data_docs" / category

    def watched(self, category: str) -> Path:
        """The files of the drop folder that a retrain was started for; see `patchcore.lifecycle.intake.drop_watch`."""
        return self.state / "watched" / f"{category}.json"

    def withdrawals(self, category: str) -> Path:
        """The withdrawals that began and are not recorded yet; see `patchcore.lifecycle.intake.withdrawal`."""
        return self.state / "withdrawals" / category

    # What comes in and goes out.
    def drop(self, category: str) -> Path:
        return self.root / "drop" / category

    def quarantine(self, category: str) -> Path:
        return self.root / "quarantine" / category

    def batch(self, batch: str, scoring: int = 1) -> Path:
        """The results of a scoring of a batch; the sign between name and number cannot be part of a name."""
        return self.root / "batches" / (batch if scoring == 1 else f"{batch}@{scoring}")

    def relative(self, path: Path) -> str:
        """Return a path below the workspace as the text that manifests, reports and the ledger hold."""
        return path.relative_to(self.root).as_posix()


def pointer_of(folder: Path) -> Path:
    """Return the DVC pointer of a tracked folder: data/bottle/train -> data/bottle/train.dvc."""
    return folder.with_name(folder.name + ".dvc")


def find_workspace(folder: Path | None = None) -> Workspace:
    """Return the workspace at ``folder``, or at PATCHCORE_WORKSPACE, or in the current folder.

    Raises:
        Refused: there is no params.yaml with a dvc.yaml beside it.
    """
    if folder is None:
        from patchcore.config.settings import read_settings

        folder = read_settings().workspace or Path()
    root = folder.resolve()
    workspace = Workspace(root)
    if not (workspace.params.is_file() and workspace.pipeline.is_file()):
        raise Refused(
            f"no workspace in {root}",
            got="a folder without params.yaml and dvc.yaml",
            expected="a workspace",
            remedy=f"make one with: patchcore init {root}",
        )
    return workspace
