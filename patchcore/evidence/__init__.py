"""Tamper evidence: a hash chain, Merkle proofs, signatures, and exports that verify without the database.

Nothing here needs numpy or a database: pyarrow reads the tables, cryptography checks signatures. The function that
verifies an export is `patchcore.evidence.verify_export.verify_export`, also ``patchcore.verify_export``; from a shell:
``python -m patchcore.evidence EXPORT``.
"""

from typing import TYPE_CHECKING

from patchcore._util.lazy import lazy_attributes

if TYPE_CHECKING:
    from patchcore.evidence.export import Export, write_export
    from patchcore.evidence.signing import Signer, is_signed, read_signer, trusted_keys
    from patchcore.evidence.verify_chain import Anchor, Walk

__all__ = ["Anchor", "Export", "Signer", "Walk", "is_signed", "read_signer", "trusted_keys", "write_export"]

__getattr__ = lazy_attributes(
    __name__,
    {
        "Anchor": "patchcore.evidence.verify_chain",
        "Export": "patchcore.evidence.export",
        "Signer": "patchcore.evidence.signing",
        "Walk": "patchcore.evidence.verify_chain",
        "is_signed": "patchcore.evidence.signing",
        "read_signer": "patchcore.evidence.signing",
        "trusted_keys": "patchcore.evidence.signing",
        "write_export": "patchcore.evidence.export",
    },
)
