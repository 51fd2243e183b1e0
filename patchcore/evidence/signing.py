"""Ed25519 signatures (RFC 8032) on the ledger's checkpoints.

A record that a signed checkpoint covers cannot change unless the signature becomes invalid. Signatures do not show that
the newest records were removed together with their checkpoints and replaced by fewer than 4,096 others: anchors do.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from patchcore.errors import InvalidKey

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

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


def read_signer(name: str) -> Signer:
    """Return the private key in a PEM file.

    Raises:
        InvalidKey: the file holds no Ed25519 private key without a password.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        private = load_pem_private_key(Path(name).read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise _no_key(name, "private", str(error)) from error
    if not isinstance(private, Ed25519PrivateKey):
        raise _no_key(name, "private", type(private).__name__)
    return Signer(private.public_key().public_bytes_raw().hex(), private)


def trusted_keys(text: str) -> frozenset[str]:
    """Return public keys as 64 hexadecimal digits each.

    Args:
        text: The keys, separated by commas: 64 hexadecimal digits or the path of a PEM file each.

    Raises:
        InvalidKey: one is neither, or the text names no key.

    Example:
        >>> trusted_keys("AB" * 32) == {"ab" * 32}
        True
    """
    if not (names := [name.strip() for name in text.split(",") if name.strip()]):
        raise InvalidKey(
            "the list of trusted keys is empty",
            got=repr(text),
            expected="public keys, 64 hexadecimal digits or PEM files, separated by commas",
            remedy="name a key, or unset PATCHCORE_TRUSTED_KEYS so that no signature is required",
        )
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
        raise _no_key(name, "public", str(error)) from error
    if not isinstance(public, Ed25519PublicKey):
        raise _no_key(name, "public", type(public).__name__)
    return public.public_bytes_raw().hex()


def _no_key(name: str, kind: str, got: str) -> InvalidKey:
    return InvalidKey(
        f"the {kind} key {name} cannot be used",
        got=got,
        expected=f"an Ed25519 {kind} key in a PEM file",
        remedy="make one with: openssl genpkey -algorithm ed25519 -out key.pem; openssl pkey -in key.pem -pubout",
    )
