"""What a person sees of a scored batch, an override, a replay and an explanation."""

from typing import TYPE_CHECKING

from patchcore.cli.display.tables import SHOWN, decision, image_names, say_more, show_scorings, show_some
from patchcore.cli.display.terminal import moment, number, say, show_pairs, show_table

if TYPE_CHECKING:
    from patchcore.lifecycle.scoring.results import (
        Computation,
        ExplainResult,
        ImageResult,
        OverrideResult,
        PatchPosition,
        ReplayResult,
        ScoreResult,
    )


def scored(result: "ScoreResult") -> None:
    """Show a batch, the most anomalous images first, and its earlier scorings."""
    images = sorted(result.images, key=lambda image: -image.score)
    names = image_names([*(image.path for image in images), *(failed.path for failed in result.failed)])
    rows = [
        (names[image.path], number(image.score), f"{image.p_value:.3f}", decision(image.anomalous))
        for image in images[:10]
    ]
    again = f", scoring {result.scoring}" if result.scoring > 1 else ""
    show_table(
        f"batch {result.batch}{again}: {result.category}, bank version {result.bank_version}",
        ("image", "score", "p-value", "decision"),
        rows,
    )
    for failed in result.failed:
        say(f"failed: {failed.path}: {failed.reason}")
    anomalous = sum(image.anomalous for image in images)
    more = f", the first {len(rows)} shown" if len(images) > len(rows) else ""
    say(
        f"{result.received} received, {result.scored} scored{more}, {len(result.failed)} failed; "
        f"{anomalous} anomalous at threshold {result.threshold:.2f}"
    )
    if result.recorded_before:
        say(f"scored before, at {moment(result.scored_at)}: these are the recorded results")
    if len(result.scorings) > 1:
        show_scorings("scorings of this batch", result.scorings)


def overridden(result: "OverrideResult") -> None:
    """Show a person's decision."""
    bank = result.bank
    show_pairs(
        f"{result.path} in batch {result.batch}",
        [
            ("was", decision(result.old)),
            ("is", decision(result.new)),
            ("decided by", f"{result.who}, {moment(result.at)}"),
            ("reason", result.reason),
            (f"bank version {bank.bank_version}", f"{decision(bool(bank.anomalous))}, score {number(bank.score)}"),
        ],
    )


def replayed(result: "ReplayResult") -> None:
    """Show whether a batch reproduced, and what is different or missing."""
    show_pairs(
        f"batch {result.batch}, scoring {result.scoring}, again with bank version {result.bank_version}",
        [
            ("then", _computation(result.then)),
            ("now", _computation(result.now)),
            ("images", f"{result.received} received, {result.equal} with the same result, bit for bit"),
        ],
    )
    rows = [
        (
            entry.path,
            _result(entry.recorded),
            _result(entry.now),
            "" if entry.difference is None else f"{entry.difference:.3g}",
        )
        for entry in result.different
    ]
    if rows:
        show_some("another result", ("image", "recorded", "now", "difference"), rows)
    for entry in result.missing[:SHOWN]:
        say(f"not scored: {entry.path}: {entry.reason}")
    say_more(len(result.missing))


def explained(result: "ExplainResult") -> None:
    """Show which patch made a score, and the normal patch that is nearest to it."""
    nearest = result.nearest
    show_pairs(
        f"{result.path} in batch {result.batch}, scoring {result.scoring}",
        [
            ("score", f"{number(result.score)}, threshold {number(result.threshold)}"),
            ("decision of the bank", decision(bool(result.anomalous))),
            ("its worst patch", _place(result.position)),
            ("distance", number(nearest.distance)),
            ("nearest normal patch", f"row {nearest.row} of bank version {result.bank_version}"),
            ("of image", f"{nearest.path}, sha256 {nearest.sha256[:16]}…"),
            ("there", _place(nearest.position)),
            ("picture", result.picture),
        ],
    )
    if nearest.file is None:
        say("the normal image is not available any more: the picture shows the defect alone")


def _computation(done: "Computation") -> str:
    return f"{moment(done.at)} by {done.who}: {done.runtime}, {done.code_version}"


def _place(position: "PatchPosition") -> str:
    text = f"row {position.row}, column {position.column} of the grid"
    if (box := position.box) is None:
        return text
    return f"{text}; pixels {box.left} to {box.right} across, {box.top} to {box.bottom} down"


def _result(image: "ImageResult") -> str:
    if image.score is None:
        return f"failed: {image.reason}"
    return f"{image.score:.9g} {decision(bool(image.anomalous))}"
