"""Banks that this machine has fetched from the registry, each under its digest."""

import shutil

from patchcore.adapters.ledger_records import BankRecord
from patchcore.adapters.registry import damage
from patchcore.bank import MemoryBank
from patchcore.errors import Refused
from patchcore.lifecycle.services import Services


def fetch_bank(services: Services, category: str, version: int, bank_sha256: str) -> MemoryBank:
    """Return a bank version, from this machine's cache where it is, else from the registry.

    Raises:
        Refused: what the registry has is not the bank of this digest, or nothing here may score with it.
    """
    workspace = services.workspace
    folder = workspace.bank_cache / category / f"{version}-{bank_sha256[:16]}"
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
