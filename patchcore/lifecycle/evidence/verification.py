"""Whether the ledger still says what was written into it, and exports that show it to others."""

import tempfile
from collections.abc import Collection, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from patchcore.adapters.ledger.records import BankRecord, Verification
from patchcore.adapters.registry import damage
from patchcore.chain_walk import Anchor, Walk
from patchcore.errors import Refused
from patchcore.exported_tables import FileFormat
from patchcore.exports import verify_export, write_export
from patchcore.lifecycle.evidence import archives
from patchcore.lifecycle.evidence.anchoring import anchors
from patchcore.lifecycle.services import Services
from patchcore.merkle import paths
from patchcore.progress import progress
from patchcore.signatures import trusted_keys_from_environment


def verify(services: Services, *, banks: bool = True) -> Verification:
    """Check every record, that the chain is the one that anchors name, and that the banks are those of then.

    Args:
        services: The opened workspace.
        banks: Fetch every bank from the registry and compare its digest with the ledger's.

    Raises:
        Refused: An anchor or a trusted key cannot be read.
        Fault: The ledger or the registry does not answer.
    """
    at_hand, problems, notes = archives.open_archives(services)
    known, recorded = anchors(services), services.ledger.banks() if banks else []
    found = services.ledger.verify(known, trusted_keys_from_environment(), at_hand)
    problems += _bank_problems(services, recorded)
    return replace(
        found,
        ok=found.ok and not problems,
        problems=(*found.problems, *problems),
        notes=tuple(notes),
        anchors=len(known),
        banks=len(recorded) if banks else None,
    )


def export(services: Services, folder: Path, *, batch: str | None, file_format: FileFormat) -> dict[str, Any]:
    """Write the ledger, or a batch with all that it rests on, to a folder that is verified without the ledger.

    Raises:
        Refused: The folder exists, or there is no such batch.
        Fault: The ledger or the folder cannot be written.
    """
    checkpoint = asdict(services.ledger.checkpoint())
    with services.ledger.tables(batch) as tables:
        if batch is None:
            return write_export(folder, tables, {"complete": True, "checkpoint": checkpoint}, file_format)
        rows = list(tables["chain"].rows)
        tables["chain"] = replace(tables["chain"], rows=rows)
        leaves = services.ledger.hashes(checkpoint["size"])
        inside = (row[0] - 1 for row in rows if row[0] <= checkpoint["size"])
        proofs = {str(number + 1): [node.hex() for node in path] for number, path in paths(leaves, inside).items()}
        proof = {"complete": False, "batch": batch, "checkpoint": checkpoint, "paths": proofs}
        return write_export(folder, tables, proof, file_format)


def verify_file(folder: Path, known: Sequence[Anchor], trusted: Collection[str]) -> Verification:
    """Verify an export with no database at hand.

    Raises:
        Refused: It is no export.
    """
    found: Walk = verify_export(folder, known, trusted)
    return Verification(not found.problems, found.size, found.head, found.root, found.first_bad, tuple(found.problems))


def _bank_problems(services: Services, recorded: Sequence[BankRecord]) -> list[str]:
    """Tell which banks the registry no longer has as they were recorded."""
    problems: list[str] = []
    if not recorded:
        return problems
    with progress("verify: banks", len(recorded)) as advance:
        for done, bank in enumerate(recorded, start=1):
            if wrong := _what_is_wrong(services, bank):
                problems.append(f"bank {bank.category} {bank.version} is not the one that was recorded: {wrong}")
            advance(done)
    return problems


def _what_is_wrong(services: Services, bank: BankRecord) -> str | None:
    with tempfile.TemporaryDirectory() as temporary:
        try:
            folder = services.registry.download_bank(bank.category, bank.version, Path(temporary) / "bank")
        except Refused as error:
            return f"got {error.got}, expected {error.expected}"
        return damage(folder, bank.sha256)
