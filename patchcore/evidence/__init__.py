"""Tamper evidence: a hash chain, Merkle proofs, signatures, and exports that verify without the database.

Verify an export that you received, against anchors that its author published before::

    from pathlib import Path
    from patchcore.evidence import read_anchors, verify_export

    result = verify_export(Path("export"), read_anchors(Path("anchors.jsonl")).anchors)
    print(result.ok, result.problems, result.notes)

The same from a shell: ``python -m patchcore.evidence EXPORT --anchor anchors.jsonl``. Verification needs pyarrow, which
reads the tables, and cryptography, which checks signatures, and no other library.
"""

from typing import TYPE_CHECKING

from patchcore._util.lazy import lazy_attributes

if TYPE_CHECKING:
    from patchcore.evidence.anchors import Anchor, read_anchors
    from patchcore.evidence.export import Export, write_export
    from patchcore.evidence.export_verification import verify_export
    from patchcore.evidence.findings import Verification
    from patchcore.evidence.signing import Signer, is_signed, read_signer, trusted_keys

__all__ = [
    "Anchor",
    "Export",
    "Signer",
    "Verification",
    "is_signed",
    "read_anchors",
    "read_signer",
    "trusted_keys",
    "verify_export",
    "write_export",
]

__getattr__ = lazy_attributes(
    __name__,
    {
        "Anchor": "patchcore.evidence.anchors",
        "Export": "patchcore.evidence.export",
        "Signer": "patchcore.evidence.signing",
        "Verification": "patchcore.evidence.findings",
        "is_signed": "patchcore.evidence.signing",
        "read_anchors": "patchcore.evidence.anchors",
        "read_signer": "patchcore.evidence.signing",
        "trusted_keys": "patchcore.evidence.signing",
        "verify_export": "patchcore.evidence.export_verification",
        "write_export": "patchcore.evidence.export",
    },
)
