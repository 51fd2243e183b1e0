"""Scoring a recorded batch again, with the bank of then, to see whether the same numbers come out."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from patchcore.adapters.ledger.records import ImageScore, RecordedBatch
from patchcore.adapters.ledger.times import now
from patchcore.adapters.versioning.repository import code_version
from patchcore.lifecycle.batch_inputs import Found, Received, find
from patchcore.lifecycle.batch_lookup import require_batch
from patchcore.lifecycle.scoring.batches import Scorer, open_scorer
from patchcore.lifecycle.scoring.scoring_pipeline import in_parts
from patchcore.lifecycle.services import Services, who

_RESULT = ("score", "p_value", "anomalous", "reason")


@dataclass(frozen=True)
class Replay:
    """What came of it.

    Attributes:
        batch: as it was recorded.
        runtime: what computed the features this time.
        again: the images as they were scored now, those that were found, by path.
        missing: the others.
    """

    batch: RecordedBatch
    runtime: str
    again: dict[str, ImageScore]
    missing: Sequence[Found]

    @property
    def different(self) -> list[tuple[ImageScore, ImageScore]]:
        """The images with another result than then, bit for bit: as recorded, and now."""
        pairs = [(image, self.again[image.path]) for image in self.batch.images if image.path in self.again]
        return [(then, again) for then, again in pairs if not _equal(then, again)]


def replay(services: Services, batch: str, scoring: int | None = None, folder: Path | None = None) -> dict[str, Any]:
    """Score a recorded batch again with the bank of then; the ledger notes that, and nothing else is written.

    The images go through in the same order and the same groups as then.

    Args:
        services: the opened workspace.
        batch: the batch's name.
        scoring: which scoring of it; None: the last.
        folder: where to look for images, by content, that are not where they were.

    Returns:
        What was compared; ``ok`` says that every image has the same result again, bit for bit.

    Raises:
        Refused: there is no such batch, or the bank of then is not to be had.
    """
    recorded = require_batch(services, batch, scoring)
    record = recorded.record
    scorer = open_scorer(services, record.category, record.bank_version, record.bank_sha256)
    value = _as_json(_replay(services, recorded, scorer, folder))
    summary = {
        key: value[key] for key in ("batch", "scoring", "bank_version", "bank_sha256", "ok", "received", "equal")
    }
    names = {kind: [entry["path"] for entry in value[kind]] for kind in ("different", "missing")}
    services.ledger.record_event(
        record.category, "replay", {**summary, **names, "then": value["then"], "now": value["now"]}, who=who()
    )
    return value


def _replay(services: Services, recorded: RecordedBatch, scorer: Scorer, folder: Path | None) -> Replay:
    # By path: the order in which they were received.
    found = find(services.workspace, sorted(recorded.images, key=lambda image: image.path), folder)
    images = [Received(each.file, each.image.path, each.image.sha256) for each in found if each.file]
    parts = in_parts(scorer.bank, images, f"replay {recorded.record.batch}", lambda part: [*part.rows, *part.failed])
    again = {row.path: row for rows in parts for row in rows}
    return Replay(recorded, scorer.bank.extractor.at_work, again, [each for each in found if each.file is None])


def _equal(then: ImageScore, again: ImageScore) -> bool:
    if then.score is None or again.score is None:
        return then.score is again.score  # Pillow words a damage differently from release to release
    return all(getattr(then, name) == getattr(again, name) for name in _RESULT)


def _as_json(replayed: Replay) -> dict[str, Any]:
    record, different = replayed.batch.record, replayed.different
    names = ("batch", "scoring", "category", "bank_version", "bank_sha256", "dataset_version", "threshold", "received")
    return {
        **{name: getattr(record, name) for name in names},
        "ok": not different and not replayed.missing,
        "equal": len(replayed.again) - len(different),
        "different": [_difference(then, again) for then, again in different],
        "missing": [
            {"path": each.image.path, "sha256": each.image.sha256, "reason": each.reason} for each in replayed.missing
        ],
        "then": {
            "at": record.scored_at,
            "who": record.who,
            "runtime": record.runtime,
            "code_version": record.code_version,
        },
        "now": {"at": now(), "who": who(), "runtime": replayed.runtime, "code_version": code_version()},
    }


def _difference(then: ImageScore, again: ImageScore) -> dict[str, Any]:
    both = None if then.score is None or again.score is None else again.score - then.score
    return {
        "path": then.path,
        "sha256": then.sha256,
        "recorded": {name: asdict(then)[name] for name in _RESULT},
        "now": {name: asdict(again)[name] for name in _RESULT},
        "difference": both,
    }
