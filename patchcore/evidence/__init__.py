"""Tamper evidence: hash chain, Merkle trees, signatures and exports. It does not depend on the rest of the library."""
