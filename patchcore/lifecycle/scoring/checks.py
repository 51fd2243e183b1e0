"""Checks of a batch that read the ledger and the names of files, and change nothing.

A command calls them before Prefect starts, and the operation calls them again.
"""

import re
from pathlib import Path

from patchcore.adapters.ledger.records import BatchRecord, Production
from patchcore.errors import BatchExists, InvalidName, NoProduction, UnknownBatch
from patchcore.lifecycle.batch_inputs import check_images
from patchcore.lifecycle.services import Services

_BATCH_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}"


def check_batch(services: Services, category: str, folder: Path, batch: str, reason: str | None) -> None:
    """Check everything about a batch that can be checked without reading its files.

    Args:
        services: The opened workspace.
        category: The category of the images.
        folder: The folder with the images.
        batch: The name of the batch.
        reason: Why the batch is scored again; None for the first scoring.

    Raises:
        NoProduction: No bank is in production.
        NoImages: The folder is missing or empty.
        InvalidName: The name cannot be the name of a batch.
        UnknownBatch: There is a reason, but the batch was not scored before.
        BatchExists: The name belongs to a batch of another category.
    """
    require_production(services, category)
    check_images(folder)
    check_batch_name(batch)
    scorings = services.ledger.scorings(batch)
    check_scored_before(batch, scorings[-1] if scorings else None, category, reason)


def require_production(services: Services, category: str) -> Production:
    """Return the bank version in production.

    Raises:
        NoProduction: No bank is in production.
    """
    production = services.ledger.production(category)
    if production is None:
        raise NoProduction(
            f"{category} has no bank in production",
            got="no promotion in the ledger",
            expected="a bank that passed the gate",
            remedy=f"run: patchcore retrain {category}",
        )
    return production


def check_batch_name(batch: str) -> None:
    """Check that a text can be the name of a batch.

    Raises:
        InvalidName: It cannot.
    """
    if not re.fullmatch(_BATCH_NAME, batch):
        expected = "letters, digits, dot, dash and underscore, at most 128"
        raise InvalidName(f"{batch!r} cannot name a batch", got=repr(batch), expected=expected, remedy="rename it")


def check_scored_before(batch: str, last: BatchRecord | None, category: str, reason: str | None) -> None:
    """Check that the last scoring of a batch allows another one.

    Args:
        batch: The name of the batch.
        last: Its last scoring; None if it was not scored before.
        category: The category of the images.
        reason: Why the batch is scored again; None for the first scoring.

    Raises:
        UnknownBatch: There is a reason, but the batch was not scored before.
        BatchExists: The batch was scored for another category.
    """
    if last is None and reason is not None:
        raise UnknownBatch(
            f"batch {batch} cannot be scored again",
            got="no record of it",
            expected="a batch that was scored",
            remedy="check the name, or leave out --rescore",
        )
    if last is not None and last.category != category:
        raise batch_exists(last, f"images of {category}", "give this batch another name")


def batch_exists(last: BatchRecord, got: str, remedy: str) -> BatchExists:
    """Return the error of a batch whose name is in use."""
    return BatchExists(
        f"batch {last.batch} was scored already, at {last.scored_at}, with bank version {last.bank_version} "
        f"of {last.category}",
        got=got,
        expected="a new name, or the same images and bank as before",
        remedy=remedy,
    )
