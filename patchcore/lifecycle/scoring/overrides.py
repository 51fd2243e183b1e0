"""Record that a person decides otherwise than the bank about an image. The bank's decision stays in the ledger."""

from dataclasses import asdict

from patchcore.errors import MissingReason
from patchcore.lifecycle.batch_lookup import require_batch, require_image
from patchcore.lifecycle.scoring.results import BankDecision, OverrideRecord
from patchcore.lifecycle.services import Services, who


def override(services: Services, batch: str, image: str, *, anomalous: bool, reason: str) -> OverrideRecord:
    """Record a person's decision about an image of the last scoring of a batch.

    Args:
        services: The opened workspace.
        batch: The name of the batch.
        image: The path as recorded, the file name, or the sha256 of the image.
        anomalous: The decision.
        reason: Why.

    Returns:
        The record, with the decision of the bank.

    Raises:
        MissingReason: The reason is empty.
        UnknownBatch: The batch was not scored.
        UnknownImage: No image of the batch, or several, have that name.
        Refused: The image has no score, its batch is archived, the decision is already this one, or the batch was
            scored again in the meantime.
    """
    reason = check_reason(reason)
    found = require_batch(services, batch)
    chosen = require_image(found, image)
    record = services.ledger.record_override(
        batch, chosen.path, anomalous=anomalous, reason=reason, who=who(), scoring=found.record.scoring
    )
    bank = BankDecision(
        score=chosen.score,
        threshold=found.record.threshold,
        anomalous=chosen.anomalous,
        bank_version=found.record.bank_version,
    )
    return OverrideRecord(**asdict(record), sha256=chosen.sha256, bank=bank)


def check_reason(reason: str) -> str:
    """Return a reason without the blanks around it.

    Raises:
        MissingReason: It is empty.
    """
    if stripped := reason.strip():
        return stripped
    raise MissingReason("no reason is given", got=repr(reason), expected="text", remedy="give one with --reason TEXT")
