"""Checking the checkpoints of a chain: the records they name, their signatures, and what trusted keys cover."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from patchcore.evidence.findings import Findings
from patchcore.evidence.hash_chain import CHECKPOINT_EVERY
from patchcore.evidence.merkle import Frontier
from patchcore.evidence.signing import checkpoint_text, is_signed


class CheckpointCheck:
    """Compares each checkpoint with the records before it, and tracks the last one that a trusted key signed.

    Args:
        stored: The values of each checkpoint by its sequence.
        trusted: The public keys that are trusted, 64 hexadecimal digits each; empty: any key is accepted.
    """

    def __init__(self, stored: Mapping[int, Mapping[str, Any]], trusted: Collection[str]) -> None:
        self._stored, self._trusted = stored, trusted
        self._covered: int | None = None  # the records up to here are covered by a signature
        self._faulty = False

    def check(self, found: Findings, sequence: int, frontier: Frontier, head: bytes) -> None:
        """Compare a checkpoint with the records before it, and its signature with the trusted keys.

        Args:
            found: Receives the problems.
            sequence: The sequence of the checkpoint's record.
            frontier: The Merkle tree over the records before it.
            head: The hash of the record before it, 32 bytes.
        """
        if (values := self._stored.get(sequence)) is None:
            return
        problems = [*_other_records(values, frontier, head), *self._signature_problems(values)]
        for problem in problems:
            found.note(sequence, problem)
        if problems:
            self._faulty = True
        elif _signature(values) is not None:
            self._covered = frontier.size

    def _signature_problems(self, values: Mapping[str, Any]) -> Iterator[str]:
        if (signed := _signature(values)) is None:
            # Signing may begin late: the first signed checkpoint covers all records before it, too.
            if self._trusted and self._covered is not None:
                yield "the checkpoint is not signed"
            return
        text = checkpoint_text(size=values["size"], head=values["head"], root=values["root"], at=values["at"])
        if not is_signed(text, *signed):
            yield "the signature of the checkpoint does not match its key"
        elif self._trusted and signed[0] not in self._trusted:
            yield f"the checkpoint is signed by a key that is not trusted: {signed[0]!r}"

    def finish(self, found: Findings, size: int) -> None:
        """Report the records that no trusted key covers.

        Args:
            found: Receives problems and notes.
            size: The number of records.
        """
        if not self._trusted:
            return
        if self._covered is None:
            if not self._faulty:
                found.note(1, "no signed checkpoint covers it: no trusted key covers any record")
        elif size - self._covered >= CHECKPOINT_EVERY:
            # Every commit keeps the gap below that, so the checkpoints in between were removed.
            words = f"and all up to {size} come after the last checkpoint that a trusted key signed"
            found.note(self._covered + 2, f"{words}: one is due every {CHECKPOINT_EVERY} records, and is missing")
        elif after := size - self._covered - 1:
            words = (
                f"{after} records come after the last checkpoint that a trusted key signed: no signature covers them"
            )
            found.notes.append(words)


def _signature(values: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return the key and the signature of a checkpoint; None if it is not signed."""
    key, signature = values["key"], values["signature"]
    return None if key is None or signature is None else (key, signature)


def _other_records(values: Mapping[str, Any], frontier: Frontier, head: bytes) -> Iterator[str]:
    if values["size"] != frontier.size or values["head"] != head.hex() or values["root"] != frontier.root().hex():
        yield f"the checkpoint does not match the {frontier.size} records before it"
