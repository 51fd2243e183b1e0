"""The errors that a user sees: one line that says what, got, expected, and what to do, and an exit code."""

from typing import ClassVar


class PatchcoreError(Exception):
    """Base of every error that is meant for a person.

    Its text is one line: ``what: got …, expected …; what to do``.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, what: str, got: str, expected: str, remedy: str) -> None:
        super().__init__(what, got, expected, remedy)
        self.what, self.got, self.expected, self.remedy = (
            " ".join(part.split()) for part in (what, got, expected, remedy)
        )

    def __str__(self) -> str:
        return f"{self.what}: got {self.got}, expected {self.expected}; {self.remedy}"


class Fault(PatchcoreError):
    """Something around us failed: a service that does not answer, a disk that is full."""

    exit_code = 1


class UsageError(PatchcoreError):
    """The command was called in a way that has no meaning."""

    exit_code = 2


class Refused(PatchcoreError):
    """What was asked is refused: bad data, a failed gate, a conflict."""

    exit_code = 3
