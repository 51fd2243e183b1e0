"""The banks that this machine has fetched from the registry, each in a folder that is named by its digest."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from patchcore._util.files import sha256_of
from patchcore.adapters.ledger.records import BankRecord
from patchcore.bank.format import read
from patchcore.bank.memory_bank import CONFIG, BankArrays, BankConfig, MemoryBank
from patchcore.errors import InvalidBank, PatchcoreError, UnknownBank
from patchcore.lifecycle.services import Services


@dataclass(frozen=True)
class BankContent:
    """The files of a bank, without the network that scores with it.

    Attributes:
        config: The content of bank.json.
        arrays: The rows, their sources, the covering radii, and the calibration scores.
        images: The path and sha256 of each normal image that the rows come from.
    """

    config: BankConfig
    arrays: BankArrays
    images: list[dict[str, str]]


def fetch_bank(services: Services, category: str, version: int, bank_sha256: str) -> MemoryBank:
    """Load a bank version from this machine's cache, or from the registry if the cache does not have it.

    The files of a cached bank are read and digested once. A damaged copy is deleted and fetched again.

    Args:
        services: The opened workspace.
        category: The category of the bank.
        version: The number of the bank version.
        bank_sha256: The sha256 of its bank.json, as the ledger has it.

    Raises:
        InvalidBank: The bank in the registry is damaged, or has another digest.
        UnknownBank: The registry has no such version.
        RuntimeNotAllowed: No runtime on this machine may score with the bank.
        RegistryUnavailable: MLflow does not answer.
    """
    folder = _folder(services, category, version, bank_sha256)
    bank = _load_cached(services, folder)
    if bank is None or bank.sha256 != bank_sha256:
        if folder.exists():
            shutil.rmtree(folder)
        services.registry.download_bank(category, version, folder, check=False)  # loading checks it
        try:
            bank = _load(services, folder)
        except InvalidBank as error:
            shutil.rmtree(folder)
            raise InvalidBank(
                f"bank version {version} of {category} in the registry is damaged",
                got=f"a damaged bank ({error.got} instead of {error.expected})",
                expected=f"sha256 {bank_sha256}",
                remedy="its artifacts were changed: restore them, or retrain",
            ) from error
    if bank.sha256 != bank_sha256:
        raise InvalidBank(
            f"bank version {version} of {category} in the registry differs from the one in the ledger",
            got=f"sha256 {bank.sha256}",
            expected=f"sha256 {bank_sha256}",
            remedy="the registry was changed: restore its artifacts, or retrain",
        )
    return bank


def bank_content(services: Services, record: BankRecord, *, fetch: bool) -> BankContent | None:
    """Read the files of a bank and check every digest.

    Args:
        services: The opened workspace.
        record: The bank.
        fetch: Whether to ask the registry for a bank that is not in this machine's cache. Without it the answer takes
            milliseconds.

    Returns:
        The content; None if the bank is not available.
    """
    folder = _folder(services, record.category, record.version, record.sha256)
    if (content := _content(folder, record.sha256)) or not fetch:
        return content
    try:
        fetch_bank(services, record.category, record.version, record.sha256)
    except PatchcoreError:  # the caller answers from the ledger alone
        return None
    return _content(folder, record.sha256)


def bank_record(services: Services, category: str, version: int) -> BankRecord:
    """Return the ledger's record of a bank version.

    Raises:
        UnknownBank: The ledger has no version with this number.
    """
    record = services.ledger.bank(category, version)
    if record is None:
        raise UnknownBank(
            f"the ledger has no bank version {version} of {category}",
            got=str(version),
            expected="a version that patchcore retrain registered",
            remedy="look at the versions in the registry",
        )
    return record


def _folder(services: Services, category: str, version: int, bank_sha256: str) -> Path:
    return services.workspace.bank_cache / category / f"{version}-{bank_sha256[:16]}"


def _load(services: Services, folder: Path) -> MemoryBank:
    return MemoryBank.load(folder, weights=services.workspace.weights, cache=services.workspace.runtime_cache)


def _load_cached(services: Services, folder: Path) -> MemoryBank | None:
    """Load a bank from the cache; None if it is missing or damaged."""
    try:
        return _load(services, folder) if folder.exists() else None
    except InvalidBank:
        return None


def _content(folder: Path, bank_sha256: str) -> BankContent | None:
    try:
        content = BankContent(*read(folder))
    except InvalidBank:  # missing or damaged
        return None
    return content if sha256_of(folder / CONFIG) == bank_sha256 else None
