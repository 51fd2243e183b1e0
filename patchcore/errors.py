"""The errors that a user sees: one line that says what, got, expected, and what to do, an exit code, a stable code.

The class says who can act: on a `Fault` the administrator of the machine, on a `UsageError` the author of the command,
on a `Refused` the person who provided the data or asked for the decision. Each subclass has a ``code`` that never
changes, so a script or a Python caller can distinguish errors without reading their text:

    >>> try:
    ...     raise UnknownBatch("no batch '4711' in the ledger", "'4711'", "a batch that was scored", "check the name")
    ... except Refused as error:
    ...     error.code, error.exit_code
    ('unknown-batch', 3)
"""

from collections.abc import Iterator
from typing import ClassVar


class PatchcoreError(Exception):
    """Base of every error that is meant for a person.

    Its text is one line: ``what: got …, expected …; what to do``.

    Attributes:
        code: What kind of error it is: lower-case words joined by hyphens. It never changes.
        exit_code: The exit code of a command that ends with it.
    """

    code: ClassVar[str] = "error"
    exit_code: ClassVar[int] = 1

    def __init__(self, what: str, got: str, expected: str, remedy: str) -> None:
        super().__init__(what, got, expected, remedy)
        self.what, self.got, self.expected, self.remedy = (
            " ".join(part.split()) for part in (what, got, expected, remedy)
        )

    def __str__(self) -> str:
        return f"{self.what}: got {self.got}, expected {self.expected}; {self.remedy}"


class Fault(PatchcoreError):
    """Something outside this library failed: a service that does not answer, a disk that is full."""

    code = "fault"
    exit_code = 1


class UsageError(PatchcoreError):
    """The command was called in a way that has no meaning."""

    code = "usage"
    exit_code = 2


class Refused(PatchcoreError):
    """What was asked is refused: bad data, a failed gate, a conflict."""

    code = "refused"
    exit_code = 3


# Faults.


class Unexpected(Fault):
    """An exception that this library did not foresee."""

    code = "unexpected"


class Interrupted(Fault):
    """A person stopped the command."""

    code = "interrupted"


class StageFailed(Fault):
    """The process of a DVC stage ended without an error of its own."""

    code = "stage-failed"


class MissingExtra(Fault):
    """A command needs libraries that are installed with ``patchcore-lifecycle[pipeline]``."""

    code = "missing-extra"


class RuntimeMissing(Fault):
    """The runtime that params.yaml names is not installed."""

    code = "runtime-missing"


class FeaturesDamaged(Fault):
    """A file of cached features is missing or damaged."""

    code = "features-damaged"


class CannotWrite(Fault):
    """A file could not be written."""

    code = "cannot-write"


class ExpectationsFailed(Fault):
    """Great Expectations could not evaluate a check."""

    code = "expectations-failed"


class LedgerUnavailable(Fault):
    """The ledger's database does not answer, or did not take a record."""

    code = "ledger-unavailable"


class RegistryUnavailable(Fault):
    """MLflow does not answer, or did not take what was sent."""

    code = "registry-unavailable"


class RemoteUnavailable(Fault):
    """The DVC remote did not take or give the data."""

    code = "remote-unavailable"


class GitFailed(Fault):
    """Git is missing or failed."""

    code = "git-failed"


# Wrong use.


class MissingReason(UsageError):
    """A decision that is recorded needs a reason."""

    code = "missing-reason"


class ContradictingOptions(UsageError):
    """Options that cannot be given together, or only together."""

    code = "contradicting-options"


class InvalidTime(UsageError):
    """A time that cannot be read, or that has no time zone."""

    code = "invalid-time"


# The workspace.


class NoWorkspace(Refused):
    """The folder is not a workspace."""

    code = "no-workspace"


class WorkspaceBusy(Refused):
    """Another command is changing the workspace."""

    code = "workspace-busy"


class WorkspaceOutdated(Refused):
    """The workspace was made by an earlier version: run ``patchcore upgrade``."""

    code = "workspace-outdated"


class InvalidParams(Refused):
    """params.yaml cannot be read, or has an unknown key or a value out of range."""

    code = "invalid-params"


class InvalidSetting(Refused):
    """An environment variable has a value that cannot be used."""

    code = "invalid-setting"


class UnknownCategory(Refused):
    """params.yaml does not list the category."""

    code = "unknown-category"


class CategoryExists(Refused):
    """The category exists already."""

    code = "category-exists"


class InvalidName(Refused):
    """A name that a category or a batch cannot have."""

    code = "invalid-name"


class InvalidPipeline(Refused):
    """dvc.yaml cannot be read, or has no stages."""

    code = "invalid-pipeline"


class InvalidPath(Refused):
    """A path that is missing, is not what was expected there, or is in the way."""

    code = "invalid-path"


# Images and data sets.


class NoImages(Refused):
    """A folder without images."""

    code = "no-images"


class UnreadableImage(Refused):
    """An image file that cannot be used."""

    code = "unreadable-image"


class InvalidLayout(Refused):
    """Images, labels and masks that do not fit together."""

    code = "invalid-layout"


class InvalidImages(Refused):
    """Images of a category that failed a check of the validate stage."""

    code = "invalid-images"


class TooFewImages(Refused):
    """Fewer images than the work needs."""

    code = "too-few-images"


class DataMissing(Refused):
    """Data or intermediate files that are missing, or not those that were written."""

    code = "data-missing"


class UnknownDataset(Refused):
    """The ledger has no such data-set version."""

    code = "unknown-dataset"


class UnknownImage(Refused):
    """No image, or several, have that name or digest."""

    code = "unknown-image"


class CannotWithdraw(Refused):
    """The image is not a normal image of the category, or was withdrawn before."""

    code = "cannot-withdraw"


# Banks and production.


class UnknownBank(Refused):
    """Ledger or registry have no such bank version."""

    code = "unknown-bank"


class InvalidBank(Refused):
    """A bank whose files are missing, damaged, or not those that were registered."""

    code = "invalid-bank"


class InvalidWeights(Refused):
    """The backbone's weights are missing, or are not those with the expected digest."""

    code = "invalid-weights"


class RuntimeNotAllowed(Refused):
    """A runtime, precision or extractor that may not score for this bank, or is not installed."""

    code = "runtime-not-allowed"


class NoProduction(Refused):
    """The category has, or had, no bank in production."""

    code = "no-production"


class GateRefused(Refused):
    """The gate refused a bank version."""

    code = "gate-refused"


class ProductionChanged(Refused):
    """Production changed after the candidate was judged."""

    code = "production-changed"


class UnknownProposal(Refused):
    """No proposal to promote that bank version is open."""

    code = "unknown-proposal"


class OwnProposal(Refused):
    """You cannot approve your own proposal."""

    code = "own-proposal"


class CannotRollBack(Refused):
    """There is no earlier bank version to go back to."""

    code = "cannot-roll-back"


# Batches.


class UnknownBatch(Refused):
    """The ledger has no such batch or scoring."""

    code = "unknown-batch"


class BatchExists(Refused):
    """The batch was scored already, with other images or another bank."""

    code = "batch-exists"


class BatchIncomplete(Refused):
    """Images of a batch are missing, or changed since it was scored."""

    code = "batch-incomplete"


class CannotOverride(Refused):
    """The decision about an image cannot be changed."""

    code = "cannot-override"


class NotReproduced(Refused):
    """A batch did not reproduce: a replay has other results."""

    code = "not-reproduced"


# Evidence.


class LedgerOutdated(Refused):
    """The ledger's tables are those of another version of this library."""

    code = "ledger-outdated"


class InvalidLedger(Refused):
    """The ledger's address or its database cannot be used."""

    code = "invalid-ledger"


class EmptyLedger(Refused):
    """The ledger has no record yet."""

    code = "empty-ledger"


class RecordRefused(Refused):
    """A record that breaks a rule of the ledger, or contradicts another record."""

    code = "record-refused"


class VerificationFailed(Refused):
    """Records, anchors, archives, exports or banks are not what was recorded."""

    code = "verification-failed"


class InvalidExport(Refused):
    """A folder that is not an export of a ledger, or is damaged."""

    code = "invalid-export"


class InvalidArchive(Refused):
    """An archive of the ledger that is missing, or not the file that was written."""

    code = "invalid-archive"


class InvalidAnchor(Refused):
    """An anchor that cannot be read, or that names another ledger."""

    code = "invalid-anchor"


class InvalidKey(Refused):
    """A key for signatures that cannot be read."""

    code = "invalid-key"


def error_types() -> dict[str, type[PatchcoreError]]:
    """Return every kind of error by its code."""
    kinds: tuple[type[PatchcoreError], ...] = (PatchcoreError, *_below(PatchcoreError))
    return {kind.code: kind for kind in kinds if "code" in vars(kind)}


def _below(kind: type[PatchcoreError]) -> Iterator[type[PatchcoreError]]:
    for child in kind.__subclasses__():
        yield child
        yield from _below(child)
