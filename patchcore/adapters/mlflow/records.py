"""The values that go into the registry and come out of it."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import patchcore
from patchcore.errors import Refused


@dataclass(frozen=True)
class BankBuild:
    """A bank that was built and evaluated, with everything that its MLflow run shows.

    Attributes:
        bank: The bank's folder.
        bank_sha256: Digest of the bank, 64 hexadecimal digits.
        run_name: What the run is called in the user interface.
        params: The content of params.yaml, blocks as nested mappings.
        metrics: Metrics by name; None for an undefined one, as pixel metrics are without masks.
        dataset_version: Number of the data-set version that the bank was built from.
        dataset_sha256: Digest of that data-set version's manifest.
        evaluation_sha256: Digest of the evaluation set that the metrics were measured on.
        pointers: Text of each DVC pointer, by its path in the workspace.
        git_commit: Commit of the workspace; None where there is none.
        files: Files to keep as they are (params.yaml, dvc.lock, validation.json); their names differ.
        plots: CSV files with the columns that DVC plots; each is kept and drawn as a picture.
        heatmaps: Example overlays, PNG.
        author: Who built it, as the user interface shows it.
        tags: More tags, for example the flow run's id.
    """

    bank: Path
    bank_sha256: str
    run_name: str
    params: Mapping[str, object]
    metrics: Mapping[str, float | None]
    dataset_version: int
    dataset_sha256: str
    evaluation_sha256: str
    pointers: Mapping[str, str]
    git_commit: str | None
    files: Sequence[Path] = ()
    plots: Sequence[Path] = ()
    heatmaps: Sequence[Path] = ()
    author: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)

    def all_tags(self) -> dict[str, str]:
        """Return the tags of the run and of the bank version.

        Raises:
            Refused: A metric is NaN or infinite.
        """
        return {
            **self.tags,
            "bank_sha256": self.bank_sha256,
            "dataset_version": str(self.dataset_version),
            "dataset_sha256": self.dataset_sha256,
            "evaluation_sha256": self.evaluation_sha256,
            "git_commit": self.git_commit or "none",
            "library_version": patchcore.__version__,
            "metrics": self._metrics_as_text(),
        }

    def description(self, category: str) -> str:
        """Return one paragraph for the user interface."""
        # Rates and areas only; counts and distances are in the table of metrics.
        shares = ((name, value) for name, value in self.metrics.items() if value is not None and 0 <= value <= 1)
        words = ", ".join(f"{name} {value:.4f}" for name, value in shares)
        return f"Bank of {category} from data-set version {self.dataset_version}. {words or 'No metrics'}."

    def _metrics_as_text(self) -> str:
        # A tag beside the MLflow metrics, which are floats only and cannot be null.
        for name, value in self.metrics.items():
            if value is not None and not math.isfinite(value):
                raise Refused(
                    f"metric {name} of {self.bank}",
                    got=str(value),
                    expected="a finite number, or null for an undefined metric",
                    remedy="evaluate the bank again",
                )
        return json.dumps(self.metrics, sort_keys=True)


@dataclass(frozen=True)
class BankVersion:
    """One version of a category's registered model."""

    category: str
    version: int
    run_id: str
    bank_sha256: str
    dataset_version: int
    dataset_sha256: str
    evaluation_sha256: str
    metrics: dict[str, float | None]

    @classmethod
    def from_tags(cls, category: str, version: int, run_id: str, tags: Mapping[str, str]) -> "BankVersion":
        """Return the version that these tags describe.

        Raises:
            KeyError: A tag is missing.
            ValueError: A tag has the wrong content.
        """
        return cls(
            category=category,
            version=version,
            run_id=run_id,
            bank_sha256=tags["bank_sha256"],
            dataset_version=int(tags["dataset_version"]),
            dataset_sha256=tags["dataset_sha256"],
            evaluation_sha256=tags["evaluation_sha256"],
            metrics=_metrics(tags["metrics"]),
        )


@dataclass(frozen=True)
class EventRun:
    """An event of a category, as its run shows it.

    Attributes:
        record: The number of the event's record in the ledger.
        name: What the run is called in the user interface.
        text: The event in words, in Markdown.
        failed: Whether it ended with an error; a refusal by the gate is not one.
        at: When, UTC, in ISO 8601.
        who: Who did it.
        tags: Texts to search runs by.
        metrics: Counts by name.
        content: The whole record, kept as a file.
    """

    record: int
    name: str
    text: str
    failed: bool
    at: str
    who: str
    tags: Mapping[str, str]
    metrics: Mapping[str, float]
    content: Mapping[str, object]

    @property
    def milliseconds(self) -> int:
        """When, as MLflow counts time: milliseconds since 1970."""
        return round(datetime.fromisoformat(self.at).timestamp() * 1000)


def _metrics(text: str) -> dict[str, float | None]:
    value = json.loads(text)
    if not isinstance(value, dict) or not all(each is None or type(each) in {int, float} for each in value.values()):
        raise ValueError(f"metrics {text[:80]!r}, expected numbers or null by name")
    return value


def flattened(params: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield every leaf of nested mappings as ("build.seed", "0"), lists as JSON."""
    for key, value in params.items():
        if isinstance(value, Mapping):
            yield from flattened(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value if isinstance(value, str) else json.dumps(value, default=str)
