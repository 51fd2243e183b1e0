"""Banks that this machine has fetched from the registry, each under its digest."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from patchcore._util.files import sha256_of
from patchcore.adapters.ledger.records import BankRecord
from patchcore.adapters.mlflow.registry import damage
from patchcore.bank.format import read
from patchcore.bank.memory_bank import CONFIG, BankArrays, BankConfig, MemoryBank
from patchcore.errors import PatchcoreError, Refused
from patchcore.lifecycle.services import Services


@dataclass(frozen=True)
class BankContent:
    """What a bank says of itself, without the network that scores with it; ``images`` are those it remembers."""

    config: BankConfig
    arrays: BankArrays
    images: list[dict[str, str]]


def fetch_bank(services: Services, category: str, version: int, bank_sha256: str) -> MemoryBank:
    """Return a bank version, from this machine's cache where it is, else from the registry.

    Raises:
        Refused: what the registry has is not the bank of this digest, or nothing here may score with it.
    """
    workspace = services.workspace
    folder = _folder(services, category, version, bank_sha256)
    if damage(folder, bank_sha256):
        if folder.exists():
            shutil.rmtree(folder)  # a damaged copy; the registry has the bank
        services.registry.download_bank(category, version, folder)
    bank = MemoryBank.load(folder, weights=workspace.weights, cache=workspace.runtime_cache)
    if bank.sha256 != bank_sha256:
        raise Refused(
            f"bank version {version} of {category} in the registry is not the one in the ledger",
            got=f"sha256 {bank.sha256}",
            expected=f"sha256 {bank_sha256}",
            remedy="somebody changed the registry: restore its artifacts, or retrain",
        )
    return bank


def bank_content(services: Services, record: BankRecord, *, fetch: bool) -> BankContent | None:
    """Return what a bank says of itself, every digest checked; None where it is not to be had.

    Args:
        services: The opened workspace.
        record: Which bank.
        fetch: Ask the registry too. Without, the answer takes milliseconds, from this machine's cache alone.
    """
    folder = _folder(services, record.category, record.version, record.sha256)
    if (content := _content(folder, record.sha256)) or not fetch:
        return content
    try:
        fetch_bank(services, record.category, record.version, record.sha256)
    except PatchcoreError:  # the ledger answers all the same
        return None
    return _content(folder, record.sha256)


def bank_record(services: Services, category: str, version: int) -> BankRecord:
    """Return what the ledger knows of a bank version.

    Raises:
        Refused: it knows none of this number.
    """
    record = services.ledger.bank(category, version)
    if record is None:
        raise Refused(
            f"the ledger knows no bank version {version} of {category}",
            got=str(version),
            expected="a version that was registered by patchcore retrain",
            remedy="look at the versions in the registry",
        )
    return record


def _folder(services: Services, category: str, version: int, bank_sha256: str) -> Path:
    return services.workspace.bank_cache / category / f"{version}-{bank_sha256[:16]}"


def _content(folder: Path, bank_sha256: str) -> BankContent | None:
    try:
        content = BankContent(*read(folder))
    except Refused:  # not here, or damaged
        return None
    return content if sha256_of(folder / CONFIG) == bank_sha256 else None
