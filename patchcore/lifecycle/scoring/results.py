"""The results of `patchcore score`, `override`, `audit replay` and `audit explain`; field names are the JSON keys."""

from patchcore._util.model import Model
from patchcore.lifecycle.anchor_result import AnchorResult
from patchcore.lifecycle.batch_results import BatchResults


class ScoreResult(BatchResults):
    """The result of `patchcore score`.

    Attributes:
        recorded_before: Whether the ledger had the batch already, so that nothing was scored.
        reconciled: What was repaired in MLflow so that it matches the ledger, one sentence each.
        anchored: The anchor that was written.
    """

    recorded_before: bool
    reconciled: tuple[str, ...]
    anchored: AnchorResult


class BankDecision(Model):
    """What the bank decided about an image.

    Attributes:
        score: The anomaly score.
        threshold: The threshold of the bank.
        anomalous: Whether the score is above the threshold.
        bank_version: The version of the bank.
    """

    score: float | None
    threshold: float
    anomalous: bool | None
    bank_version: int


class OverrideRecord(Model):
    """A decision of a person about an image of a batch, as the ledger has it.

    Attributes:
        sequence: The number of the record.
        batch: The name of the batch.
        scoring: The scoring of the batch that the decision is about.
        path: The path of the image, as recorded.
        old: Whether the image was anomalous before, by the last decision.
        new: Whether it is anomalous now.
        reason: Why.
        who: Who decided.
        at: The time, UTC.
        sha256: The digest of the image.
        bank: What the bank decided.
    """

    sequence: int
    batch: str
    scoring: int
    path: str
    old: bool
    new: bool
    reason: str
    who: str
    at: str
    sha256: str | None
    bank: BankDecision


class OverrideResult(OverrideRecord):
    """The result of `patchcore override`.

    Attributes:
        anchored: The anchor that was written.
    """

    anchored: AnchorResult


class ImageResult(Model):
    """The result of one image.

    Attributes:
        score: The anomaly score; None if the image could not be scored.
        p_value: The conformal p-value of the score.
        anomalous: Whether the score is above the threshold.
        reason: Why the image could not be scored; None if it has a score.
    """

    score: float | None
    p_value: float | None
    anomalous: bool | None
    reason: str | None


class DifferentImage(Model):
    """An image whose result changed.

    Attributes:
        path: The path of the image, as recorded.
        sha256: The digest of the image; None if no byte could be read.
        recorded: The result in the ledger.
        now: The result of the replay.
        difference: The score of the replay minus the recorded one; None if one of them is missing.
    """

    path: str
    sha256: str | None
    recorded: ImageResult
    now: ImageResult
    difference: float | None


class MissingImage(Model):
    """An image that could not be scored again because no file with its bytes was found.

    Attributes:
        path: The path of the image, as recorded.
        sha256: The digest of the image; None if no byte could be read.
        reason: What is at that path instead.
    """

    path: str
    sha256: str | None
    reason: str | None


class Computation(Model):
    """When, by whom and with what a batch was scored.

    Attributes:
        at: The time, UTC.
        who: The user who ran the command.
        runtime: The runtime and precision that computed the features.
        code_version: The version of this library.
    """

    at: str
    who: str
    runtime: str
    code_version: str


class ReplayRecord(Model):
    """The comparison of a recorded batch with a second computation of its scores.

    Attributes:
        batch: The name of the batch.
        scoring: The scoring that was computed again.
        category: The category of the images.
        bank_version: The bank version that scored them, then and now.
        bank_sha256: The digest of that bank.
        dataset_version: The data-set version that the bank was built from.
        threshold: The threshold of the bank.
        received: The number of files in the batch.
        ok: Whether every image has the same result, bit for bit.
        equal: The number of images with the same result.
        different: The images with another result.
        missing: The images that were not found.
        then: The recorded computation.
        now: The computation of the replay.
    """

    batch: str
    scoring: int
    category: str
    bank_version: int
    bank_sha256: str
    dataset_version: int
    threshold: float
    received: int
    ok: bool
    equal: int
    different: tuple[DifferentImage, ...]
    missing: tuple[MissingImage, ...]
    then: Computation
    now: Computation


class ReplayResult(ReplayRecord):
    """The result of `patchcore audit replay`.

    Attributes:
        anchored: The anchor that was written.
    """

    anchored: AnchorResult


class Box(Model):
    """A rectangle in an image.

    Attributes:
        left: The first column, in pixels.
        top: The first row, in pixels.
        right: The first column to the right of it, in pixels.
        bottom: The first row below it, in pixels.
    """

    left: int
    top: int
    right: int
    bottom: int


class PatchPosition(Model):
    """The place of a patch in an image.

    Attributes:
        row: The row in the grid of patches, from 0 at the top.
        column: The column in the grid of patches, from 0 at the left.
        box: The pixels that the patch covers in the original image; None if the image is not available.
    """

    row: int
    column: int
    box: Box | None


class NearestPatch(Model):
    """The bank row that is nearest to a patch, and the normal image that the row comes from.

    Attributes:
        row: The number of the bank row, from 0.
        distance: The Euclidean distance between the features of the two patches.
        path: The path of the normal image when the bank was built.
        sha256: The digest of the normal image.
        position: The place of the row's patch in the normal image.
        file: A file that has the bytes of the normal image now; None if there is none.
    """

    row: int
    distance: float
    path: str
    sha256: str
    position: PatchPosition
    file: str | None


class ExplainResult(Model):
    """The result of `patchcore audit explain`.

    Attributes:
        batch: The name of the batch.
        scoring: The scoring that is explained.
        category: The category of the image.
        bank_version: The bank version that scored it.
        bank_sha256: The digest of that bank.
        dataset_version: The data-set version that the bank was built from.
        threshold: The threshold of the bank.
        path: The path of the image, as recorded.
        sha256: The digest of the image.
        score: The recorded score.
        score_now: The score as it was computed for this explanation.
        p_value: The recorded p-value.
        anomalous: The recorded decision of the bank.
        position: The patch with the largest distance.
        nearest: The bank row that is nearest to this patch.
        picture: The file with the picture; None if none was drawn.
    """

    batch: str
    scoring: int
    category: str
    bank_version: int
    bank_sha256: str
    dataset_version: int
    threshold: float
    path: str
    sha256: str | None
    score: float
    score_now: float
    p_value: float | None
    anomalous: bool | None
    position: PatchPosition
    nearest: NearestPatch
    picture: str | None
