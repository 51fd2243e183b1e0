"""Score a batch of images with a bank, record it in the ledger, and write its results.

Every file that is received is recorded: it is scored, or it failed for a reason that is recorded. The ledger is written
first and the result folder after it, so a result folder never shows a score that the ledger does not have.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from patchcore.adapters.ledger.records import BankRecord, BatchRecord, ImageScore, RecordedBatch, images_digest
from patchcore.adapters.ledger.times import now
from patchcore.adapters.versioning.repository import code_version
from patchcore.bank.memory_bank import MemoryBank
from patchcore.lifecycle.bank_cache import bank_record, fetch_bank
from patchcore.lifecycle.batch_inputs import Received
from patchcore.lifecycle.batch_lookup import find_batch
from patchcore.lifecycle.scoring.checks import batch_exists, check_batch_name, check_scored_before
from patchcore.lifecycle.scoring.drawing import score_and_draw
from patchcore.lifecycle.scoring.result_files import publish, staged_results
from patchcore.lifecycle.services import Services, who


@dataclass(frozen=True)
class Scorer:
    """A bank that scores a batch.

    Attributes:
        bank: The loaded bank.
        record: The ledger's record of the bank version.
    """

    bank: MemoryBank
    record: BankRecord


def open_scorer(services: Services, category: str, version: int, bank_sha256: str) -> Scorer:
    """Load a bank version and check its digests.

    Raises:
        InvalidBank: The bank is damaged, or is not the one in the ledger.
        UnknownBank: The ledger or the registry has no such version.
        RuntimeNotAllowed: No runtime on this machine may score with the bank.
    """
    return Scorer(fetch_bank(services, category, version, bank_sha256), bank_record(services, category, version))


def find_scored(
    services: Services,
    batch: str,
    category: str,
    images: Sequence[Received],
    bank_sha256: str,
    reason: str | None = None,
) -> RecordedBatch | None:
    """Return the last scoring of a batch if it is the one that is asked for: same images, same bank, same reason.

    Args:
        services: The opened workspace.
        batch: The name of the batch.
        category: The category of the images.
        images: The files of the batch.
        bank_sha256: The digest of the bank that is to score the batch.
        reason: Why the batch is scored again; None for the first scoring. A command that is run again after a crash
            has the same reason as the last scoring, so it finds that scoring.

    Returns:
        The recorded batch; None if the batch is to be scored now.

    Raises:
        InvalidName: The name cannot be the name of a batch.
        UnknownBatch: There is a reason, but the batch was not scored before.
        BatchExists: The batch was scored for another category; or, without a reason, with other images or another bank.
    """
    check_batch_name(batch)
    known = find_batch(services, batch)
    check_scored_before(batch, known.record if known else None, category, reason)
    if known is None:
        return None
    same_images = known.record.images_sha256 == images_digest((image.path, image.sha256) for image in images)
    same_bank = known.record.bank_sha256 == bank_sha256
    if same_images and same_bank and reason in {None, known.record.reason}:
        return known
    if reason is None:
        got = f"another bank, now in production for {category}" if same_images else "other images"
        remedy = "give this batch another name, or score it again with --rescore --reason TEXT"
        raise batch_exists(known.record, got, remedy)
    return None


def score_batch(
    services: Services,
    scorer: Scorer,
    batch: str,
    images: Sequence[Received],
    *,
    flow_run_id: str | None,
    reason: str | None = None,
) -> RecordedBatch:
    """Score a batch, record it in the ledger, then write the result folder of the scoring.

    Args:
        services: The opened workspace.
        scorer: The bank.
        batch: The name of the batch.
        images: The files of the batch. A file whose bytes changed since it was digested is recorded as failed.
        flow_run_id: The Prefect run that scores the batch; None outside Prefect.
        reason: Why the batch is scored again; None for the first scoring.

    Returns:
        The batch as the ledger has it. If two commands score the same batch at once, both return the first record.

    Raises:
        BatchExists: The name belongs to another batch.
        LedgerUnavailable: The ledger cannot be written; the batch is not scored.
        CannotWrite: The result folder cannot be written. The batch is in the ledger, and the same command again writes
            the folder.
    """
    with staged_results(services.workspace, batch) as folder:
        rows = score_and_draw(scorer.bank, images, folder, batch)
        record = _record(scorer, batch, images, rows, flow_run_id, reason)
        record = services.ledger.record_batch(record, rows, rescored=reason is not None)
        result = find_batch(services, batch, record.scoring) or RecordedBatch(record, tuple(rows))
        publish(folder, services.workspace, result, services.ledger.scorings(batch))
    return result


def restore_results(services: Services, known: RecordedBatch, images: Sequence[Received]) -> None:
    """Write the result folder of a recorded batch again if it is missing, for example after a crash.

    Nothing is written for a batch whose images are in an archive that is not here.

    Raises:
        InvalidBank: The bank that scored the batch is damaged.
        UnknownBank: The ledger or the registry does not have that bank any more.
        CannotWrite: The folder cannot be written.
    """
    record, workspace = known.record, services.workspace
    if workspace.batch(record.batch, record.scoring).is_dir() or not known.images:
        return
    scorer = open_scorer(services, record.category, record.bank_version, record.bank_sha256)
    with staged_results(workspace, record.batch) as folder:
        score_and_draw(scorer.bank, images, folder, record.batch)
        publish(folder, workspace, known, services.ledger.scorings(record.batch)[: record.scoring])


def _record(
    scorer: Scorer,
    batch: str,
    images: Sequence[Received],
    rows: Sequence[ImageScore],
    flow_run_id: str | None,
    reason: str | None,
) -> BatchRecord:
    bank, origin = scorer.bank, scorer.record
    failed = sum(row.reason is not None for row in rows)
    return BatchRecord(
        batch=batch,
        scoring=1,  # the ledger sets the number
        category=bank.config.category,
        bank_version=origin.version,
        bank_sha256=bank.sha256,
        dataset_version=origin.dataset_version,
        dataset_sha256=origin.dataset_sha256,
        threshold=bank.threshold,
        false_alarm_rate=bank.config.threshold.guaranteed_rate,
        calibration_images=len(bank.arrays.calibration),
        images_sha256=images_digest((image.path, image.sha256) for image in images),
        received=len(images),
        scored=len(rows) - failed,
        failed=failed,
        runtime=bank.extractor.at_work,
        code_version=code_version(),
        who=who(),
        scored_at=now(),
        run_id=origin.run_id,
        flow_run_id=flow_run_id,
        reason=reason,
    )
