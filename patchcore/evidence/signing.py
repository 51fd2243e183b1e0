"""Ed25519 signatures (RFC 8032) on the ledger's checkpoints: what one names, nobody changes and keeps its signature.

They do not show that the end was cut off, together with its checkpoints, and that fewer than 4,096 records were written
in its place: anchors do.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from patchcore.errors import Refused

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

SIGNING_KEY, TRUSTED_KEYS = "PATCHCORE_SIGNING_KEY", "PATCHCORE_TRUSTED_KEYS"
_PUBLIC_KEY_DIGITS = 64


@dataclass(frozen=True)
class Signer:
    """A private key.

    Attributes:
        key: The public key that belongs to it, 64 hexadecimal digits.
    """

    key: str
    _private: "Ed25519PrivateKey" = field(repr=False)

    def sign(self, text: bytes) -> str:
        """Return the signature of a text, 128 hexadecimal digits."""
        return self._private.sign(text).hex()


def checkpoint_text(*, size: int, head: str, root: str, at: str) -> bytes:
    """Return what is signed of a checkpoint: a first line that names its kind, then a line for each value."""
    return f"patchcore ledger checkpoint 1\n{size}\n{head}\n{root}\n{at}\n".encode()


def signer_from_environment() -> Signer | None:
    """Return the key in the PEM file that PATCHCORE_SIGNING_KEY names; None where it names none.

    Raises:
        Refused: the file holds no Ed25519 private key without a password.
    """
    name = os.environ.get(SIGNING_KEY)
    if not name:
        return None
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        private = load_pem_private_key(Path(name).read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise _no_key(SIGNING_KEY, name, "private", str(error)) from error
    if not isinstance(private, Ed25519PrivateKey):
        raise _no_key(SIGNING_KEY, name, "private", type(private).__name__)
    return Signer(private.public_key().public_bytes_raw().hex(), private)


def trusted_keys_from_environment() -> frozenset[str]:
    """Return the public keys that PATCHCORE_TRUSTED_KEYS names: 64 hexadecimal digits or PEM files, commas between.

    Raises:
        Refused: one is neither, or the variable is set and names none: that would ask for no signature at all.
    """
    if (value := os.environ.get(TRUSTED_KEYS)) is None:
        return frozenset()
    if not (names := [name.strip() for name in value.split(",") if name.strip()]):
        raise Refused(
            f"{TRUSTED_KEYS} names no key",
            got=repr(value),
            expected="public keys, 64 hexadecimal digits or PEM files, commas between",
            remedy="name one, or unset it: then no signature is asked for",
        )
    return trusted_keys(names)


def trusted_keys(names: Iterable[str]) -> frozenset[str]:
    """Return public keys as 64 hexadecimal digits each, from such digits or PEM files.

    Raises:
        Refused: one is neither.
    """
    return frozenset(_public_key(name) for name in names)


def is_signed(text: bytes, key: str, signature: str) -> bool:
    """Return whether a signature is that of a text by the private key that belongs to a public one."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(key)).verify(bytes.fromhex(signature), text)
    except (InvalidSignature, ValueError):
        return False
    return True


def _public_key(name: str) -> str:
    if len(name) == _PUBLIC_KEY_DIGITS and set(name.lower()) <= set("0123456789abcdef"):
        return name.lower()
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        public = load_pem_public_key(Path(name).read_bytes())
    except (OSError, ValueError) as error:
        raise _no_key(TRUSTED_KEYS, name, "public", str(error)) from error
    if not isinstance(public, Ed25519PublicKey):
        raise _no_key(TRUSTED_KEYS, name, "public", type(public).__name__)
    return public.public_bytes_raw().hex()


def _no_key(variable: str, name: str, kind: str, got: str) -> Refused:
    return Refused(
        f"{variable}: {name}",
        got=got,
        expected=f"an Ed25519 {kind} key in a PEM file",
        remedy="make one with: openssl genpkey -algorithm ed25519 -out key.pem; openssl pkey -in key.pem -pubout",
    )
