"""The tables of `patchcore audit batch, dataset, image, completeness`; times are in UTC."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from patchcore.cli.display.tables import (
    SHOWN,
    decision,
    image_names,
    more,
    short,
    show_overrides,
    show_scorings,
    show_some,
)
from patchcore.cli.display.terminal import counted, moment, number, say, show_pairs

if TYPE_CHECKING:
    from patchcore.adapters.ledger.records import Member
    from patchcore.lifecycle.audit.results import (
        BatchAnswer,
        CompletenessAnswer,
        DatasetAnswer,
        ImageAnswer,
        ImageScoring,
    )


def batch(value: "BatchAnswer") -> None:
    """Show the bank that scored a batch, its data-set version and promotion, the images and the overrides."""
    dataset, promotion = value.dataset, value.promotion
    normals = f", {dataset.normals} normal images" if dataset else ""
    promoted = f"{moment(promotion.at)} by {promotion.who}: {promotion.reason}" if promotion else "never"
    anomalous = sum(image.anomalous for image in value.images)
    show_pairs(
        f"batch {value.batch}, scoring {value.scoring} of {len(value.scorings)}",
        [
            ("category", value.category),
            ("scored at", f"{moment(value.scored_at)} by {value.who}"),
            ("images", f"{value.received} received, {value.scored} scored, {len(value.failed)} failed"),
            ("anomalous", "archived" if value.archived else anomalous),
            ("bank version", f"{value.bank_version}, sha256 {short(value.bank_sha256)}"),
            ("threshold", _threshold(value)),
            ("promoted", promoted),
            ("data-set version", f"{value.dataset_version}{normals}"),
            ("data-set sha256", short(value.dataset_sha256)),
            ("MLflow run", value.bank.run_id),
            ("code", f"{value.code_version}, {value.runtime}"),
        ],
    )
    if len(value.scorings) > 1:
        show_scorings("scorings", value.scorings)
    if value.images or value.failed:
        _own_images(value)
    if value.overrides:
        show_overrides(value.overrides)
    if value.dataset_images is not None and value.dataset_images.images is not None:
        _members(f"images of data-set version {value.dataset_version}", value.dataset_images.images)


def dataset(value: "DatasetAnswer") -> None:
    """Show the images of a data-set version."""
    show_pairs(
        f"{value.category}, data-set version {value.number}",
        [
            ("sha256", value.sha256),
            ("normal images", value.normals),
            ("evaluation images", value.evaluation_images),
            ("recorded", f"{moment(value.at)} by {value.who}"),
            ("git commit", value.git_commit or "none"),
            ("banks built from it", ", ".join(map(str, value.banks)) or "none"),
        ],
    )
    if (images := value.dataset_images.images) is None:
        say("its images were not recorded")
    else:
        _members("its images", images)


def image(value: "ImageAnswer") -> None:
    """Show every scoring of an image."""
    rows = [
        (
            moment(record.scored_at),
            f"{record.batch}, scoring {record.scoring}",
            record.bank_version,
            "-" if record.score is None else number(record.score),
            number(record.threshold),
            _decided(record),
        )
        for record in value.records
    ]
    title = f"image {short(value.sha256)}: {counted(len(rows), 'scoring')}"
    show_some(title, ("scored at", "batch", "bank", "score", "threshold", "decision"), rows)
    if missing := value.archives_missing:
        say(f"archives that are not here and may hold more scorings: {', '.join(missing[:SHOWN])}{more(len(missing))}")
    if changed := [entry for record in value.records for entry in record.overrides]:
        show_overrides(changed)


def completeness(value: "CompletenessAnswer") -> None:
    """Show whether a batch is complete."""
    gone = value.files is None
    files = "gone, not compared" if value.files is None else f"{counted(value.files, 'file')} in {value.folder}"
    show_pairs(
        f"batch {value.batch}, scoring {value.scoring}: {_state(value)}",
        [
            ("images", f"{value.received} received, {value.scored} scored, {value.failed} failed"),
            ("image records", value.images),
            ("digest of the images", short(value.images_sha256)),
            ("their folder", files),
        ],
    )
    problems = [(entry.path or "the batch", entry.problem) for entry in value.problems]
    if problems and not (value.recorded_completely and gone):  # the title says so
        show_some("problems", ("path", "problem"), problems)


def _state(value: "CompletenessAnswer") -> str:
    """Return the state of a batch; it is not complete if its files could not be compared."""
    if value.complete:
        return "complete"
    if value.recorded_completely and value.folder is None:
        return "recorded completely; its files were NOT compared: their folder is gone"
    return "NOT complete"


def _own_images(value: "BatchAnswer") -> None:
    """Show the images of a batch with their overrides: failed ones first, then by score, the highest first."""
    scored = sorted(value.images, key=lambda image: (not image.anomalous, -image.score))
    names = image_names([*(image.path for image in value.failed), *(image.path for image in scored)])
    overridden = {each.path: each.new for each in value.overrides if each.scoring == value.scoring}
    rows = [(names[image.path], "-", "-", f"failed: {image.reason}") for image in value.failed]
    rows += [
        (
            names[image.path],
            number(image.score),
            f"{image.p_value:.3f}",
            _decisions(image.anomalous, overridden.get(image.path)),
        )
        for image in scored
    ]
    show_some(f"its images: {len(rows)}", ("image", "score", "p-value", "decision"), rows)


def _decisions(anomalous: bool, override: bool | None) -> str:
    """Return the decision of the bank and, if there is one, the last override."""
    return decision(anomalous) + ("" if override is None else f", then {decision(override)}")


def _members(title: str, images: "Sequence[Member]") -> None:
    rows = [(entry.part, entry.path, short(entry.sha256)) for entry in images]
    show_some(f"{title}: {len(rows)}", ("part", "path", "sha256"), rows)


def _threshold(value: "BatchAnswer") -> str:
    images = "unknown" if value.calibration_images is None else value.calibration_images
    rate = f"false-alarm rate {value.false_alarm_rate:.3g}"
    return f"{value.threshold:.4f}, {rate}, calibration images: {images}"


def _decided(record: "ImageScoring") -> str:
    """Return the decision of the bank and, if there is one, the last override."""
    if record.anomalous is None:
        return "failed"
    changes = [entry.new for entry in record.overrides]
    return _decisions(record.anomalous, changes[-1] if changes else None)
