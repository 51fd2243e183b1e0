"""Withdraw a mislabelled normal image: it moves to quarantine with the reason, and the next bank excludes it.

The ledger's record says that an image was withdrawn. Until that record is written, a pending file of this machine
says so; the note beside the image in quarantine is for people and decides nothing.
"""

from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import TypeAdapter

from patchcore._util.files import read_json, sync, write_json
from patchcore.adapters.ledger.records import DatasetVersion, Event, EventKind
from patchcore.dataset.manifest import normal_images
from patchcore.errors import CannotWithdraw
from patchcore.lifecycle.dataset_records import note_arrivals, record_dataset
from patchcore.lifecycle.event_summaries import IngestSummary, QuarantinedImage, WithdrawalSummary
from patchcore.lifecycle.events import NOTE
from patchcore.lifecycle.git_commits import commit_images
from patchcore.lifecycle.services import Services, who


@dataclass(frozen=True)
class Withdrawn:
    """An image that was withdrawn.

    Attributes:
        path: Where it was, below the workspace.
        sha256: Of the image.
        quarantined: Where it is now, below the workspace.
        dataset: The data-set version without it.
        event: The record in the ledger.
    """

    path: str
    sha256: str
    quarantined: str
    dataset: DatasetVersion
    event: Event


@dataclass(frozen=True)
class _Pending:
    """A withdrawal that began: path and sha256 of the image, and the last record of a withdrawal before it."""

    path: str
    sha256: str
    after: int


@dataclass(frozen=True)
class Target:
    """The image to withdraw.

    Attributes:
        path: Where it is, or was, below the workspace.
        sha256: Of the image.
        present: Whether it is a normal image now.
        pending: Whether a killed command moved it and did not finish.
        after: Records of withdrawals up to this one are of earlier withdrawals.
    """

    path: str
    sha256: str
    present: bool = False
    pending: bool = False
    after: int = 0


def withdraw(services: Services, category: str, image: str, reason: str) -> Withdrawn:
    """Take an image out of a category's normals; the next retrain builds the bank from nothing, without it.

    After a crash, the same call finishes the work.

    Args:
        services: The opened workspace, which no other command changes meanwhile.
        category: The category.
        image: The image: its path, its file name, or its sha256.
        reason: Why; the ledger and the note in quarantine keep it.

    Raises:
        UnknownCategory: The category is unknown.
        CannotWithdraw: There is no such normal image, it is the last one, or it was withdrawn before for another
            reason.
        Fault: A file or the ledger cannot be written.
    """
    target = check_withdrawal(services, category, image, reason)
    workspace = services.workspace
    source = workspace.root / target.path
    place = workspace.quarantine(category) / f"{target.sha256[:12]}-{source.name}"
    pending = workspace.withdrawals(category) / f"{target.sha256}.json"
    if target.present:
        write_json(pending, asdict(_Pending(target.path, target.sha256, target.after)))
        _write_note(place, target, reason)  # first: an image in quarantine always has a note
        source.replace(place)
        sync(place.parent)
        sync(source.parent)
    elif target.pending:
        _write_note(place, target, reason)
    services.versioning.track([workspace.normals(category)])
    note_arrivals(services, category)
    commit_images(services, category)
    dataset = record_dataset(services, category)
    where = workspace.relative(place)
    summary = WithdrawalSummary(
        path=target.path,
        sha256=target.sha256,
        reason=reason,
        dataset_version=dataset.number,
        quarantined=(QuarantinedImage(path=where, source=target.path, reason=reason, sha256=target.sha256),),
    )
    event = _valid_record(services, category, summary) or services.ledger.record_event(
        category, EventKind.WITHDRAW, summary.to_json(), who=who()
    )
    pending.unlink(missing_ok=True)
    return Withdrawn(target.path, target.sha256, where, dataset, event)


def check_withdrawal(services: Services, category: str, image: str, reason: str) -> Target:
    """Return the image to withdraw; changes nothing. See `withdraw`.

    Raises:
        UnknownCategory: The category is unknown.
        CannotWithdraw: There is no such normal image, it is the last one, or it was withdrawn before for another
            reason.
    """
    services.params.require(category)
    target = _find(services, category, image)
    if target.present:
        return target
    done = [
        (event, summary)
        for event, summary in _withdrawals(services, category)
        if (summary.path, summary.sha256) == (target.path, target.sha256) and event.sequence > target.after
    ]
    if done and done[-1][1].reason != reason:
        event, summary = done[-1]
        raise CannotWithdraw(
            f"{target.path} is not withdrawn from {category} once more",
            got=f"withdrawn at {event.at} by {event.who}: {summary.reason}",
            expected="an image that is among the normals",
            remedy="nothing is left to do; the record keeps the first reason",
        )
    return target


def _find(services: Services, category: str, image: str) -> Target:
    """Return the normal image that is meant, or the one that was withdrawn or is being withdrawn."""
    normals = normal_images(services.workspace, category, services.digests)
    file = Path(image)
    sha256 = services.digests.of(file) if file.is_file() else image.lower()

    def is_meant(path: str, digest: str) -> bool:
        return digest == sha256 or image in {path, Path(path).name}

    found = [entry for entry in normals if is_meant(entry.path, entry.sha256)]
    recorded = _withdrawals(services, category)
    if len(found) == 1 and len(normals) > 1:
        last = recorded[-1][0].sequence if recorded else 0
        return Target(found[0].path, found[0].sha256, present=True, after=last)
    if not found:
        pending = [
            Target(each.path, each.sha256, pending=True, after=each.after) for each in _begun(services, category)
        ]
        done = [Target(summary.path, summary.sha256) for _, summary in reversed(recorded)]
        gone = next((each for each in (*pending, *done) if is_meant(each.path, each.sha256)), None)
        if gone is not None:
            return gone
    raise CannotWithdraw(
        f"{image} is not withdrawn from {category}",
        got=f"{len(found)} of {len(normals)} normal images",
        expected="the path, the file name or the sha256 of one normal image, and another one that stays",
        remedy=f"look at data/{category}/train/good",
    )


_PENDING = TypeAdapter(_Pending)


def _begun(services: Services, category: str) -> list[_Pending]:
    """Return the withdrawals that killed commands began and did not finish."""
    found = []
    for file in sorted(services.workspace.withdrawals(category).glob("*.json")):
        with suppress(ValueError):  # a file that no command wrote
            found.append(_PENDING.validate_python(read_json(file)))
    return found


def _withdrawals(services: Services, category: str) -> list[tuple[Event, WithdrawalSummary]]:
    """Return the recorded withdrawals of a category, oldest first."""
    events = services.ledger.events(category, EventKind.WITHDRAW)
    return [(event, found) for event in events if (found := WithdrawalSummary.read(event)) is not None]


def _write_note(place: Path, target: Target, reason: str) -> None:
    """Write why an image was withdrawn; an earlier reason for rejecting a copy moves to another field."""
    path = place.with_name(place.name + NOTE)
    note = {"source": target.path, "reason": f"withdrawn: {reason}", "sha256": target.sha256}
    try:
        before = read_json(path)
    except (OSError, ValueError):  # there is none, or a person changed it
        before = None
    if not isinstance(before, dict):
        before = {}
    earlier = before.get("reason") if before.get("reason") != note["reason"] else before.get("earlier_reason")
    if earlier is not None:
        note["earlier_reason"] = str(earlier)
    if note != before:
        write_json(path, note)


def _valid_record(services: Services, category: str, summary: WithdrawalSummary) -> Event | None:
    """Return the record of this withdrawal, if the image did not come back since."""
    same = [
        event
        for event, known in _withdrawals(services, category)
        if (known.path, known.sha256, known.reason) == (summary.path, summary.sha256, summary.reason)
    ]
    present = services.ledger.present_dataset(category)
    if not same or present is None or present.version.number != summary.dataset_version:
        return None
    later = [
        event for event in services.ledger.events(category, EventKind.INGEST) if event.sequence > same[-1].sequence
    ]
    numbers = {found.dataset_version for event in later if (found := IngestSummary.read(event)) is not None}
    came_back = any(
        member.sha256 == summary.sha256 for number in numbers for member in services.ledger.members(category, number)
    )
    return None if came_back else same[-1]
