"""Where a person decides otherwise than the bank: a record of its own, the bank's decision stays what it was."""

from dataclasses import asdict
from typing import Any

from patchcore.errors import UsageError
from patchcore.lifecycle.batch_lookup import require_batch, require_image
from patchcore.lifecycle.services import Services, who


def override(services: Services, batch: str, image: str, *, anomalous: bool, reason: str) -> dict[str, Any]:
    """Record a person's decision about an image of a batch, as the batch was scored last.

    Args:
        services: the opened workspace.
        batch: the batch's name.
        image: its path as recorded, its file name, or its sha256.
        anomalous: what it is.
        reason: why.

    Returns:
        The record, with what the bank says of the image.

    Raises:
        UsageError: the reason is empty.
        Refused: there is no such image, it could not be scored, its images lie in an archive, this is decided already,
            or the batch was scored again meanwhile.
    """
    reason = require_reason(reason)
    found = require_batch(services, batch)
    chosen = require_image(found, image)
    record = services.ledger.record_override(
        batch, chosen.path, anomalous=anomalous, reason=reason, who=who(), scoring=found.record.scoring
    )
    said = {"score": chosen.score, "threshold": found.record.threshold, "anomalous": chosen.anomalous}
    return {**asdict(record), "sha256": chosen.sha256, "bank": {**said, "bank_version": found.record.bank_version}}


def require_reason(reason: str) -> str:
    """Return a reason without blanks around it.

    Raises:
        UsageError: nothing is left.
    """
    if stripped := reason.strip():
        return stripped
    raise UsageError("no reason is given", got=repr(reason), expected="words", remedy="say why with --reason TEXT")
