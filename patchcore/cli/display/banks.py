"""The tables of `patchcore audit bank, normal, compare`."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from patchcore.cli.display.lifecycle import bank_rows, metric_rows
from patchcore.cli.display.tables import SHOWN, decision, more, say_more, short, show_some
from patchcore.cli.display.terminal import counted, moment, number, say, show_pairs, to_the_second

if TYPE_CHECKING:
    from patchcore.lifecycle.audit.bank_results import BankAnswer, ComparisonAnswer
    from patchcore.lifecycle.audit.results import BankWithImage, ImageMembership, NormalAnswer, ScoredBatchAnswer


def bank(value: "BankAnswer") -> None:
    """Show the metrics of a bank, the decisions about it and the batches that it scored."""
    title = f"{value.category}, bank version {value.bank_version}, data-set version {value.dataset_version}"
    rows = metric_rows(value.metrics or {})
    if found := value.certificate:
        patches, arrivals = counted(found.patches, "patch", "patches"), counted(found.arrivals, "arrival")
        radius = f"{found.radius:.4f} of a row, all {patches} of {arrivals}"
        rows += [("bank rows", bank_rows(found.rows, found.model_dump())), ("every patch within", radius)]
    else:
        rows.append(("its rows", "the bank is not on this machine; add --fetch to download it"))
    show_pairs(title, rows)
    decisions = [(moment(entry.at), entry.action, entry.who, entry.reason) for entry in value.decisions]
    show_some(f"decisions about it: {len(decisions)}", ("at", "action", "who", "reason"), decisions)
    _batches(f"batches that it scored: {len(value.batches)}", value.batches)


def normal(value: "NormalAnswer") -> None:
    """Show the data-set versions of a normal image, the banks built from it, and the batches that they scored."""
    rows = [(entry.category, _versions(entry), _part(entry), entry.path) for entry in value.memberships]
    title = f"image {short(value.sha256)}: {'in these data-set versions' if rows else 'in no data-set version'}"
    show_some(title, ("category", "versions", "part", "path"), rows)
    for entry in value.withdrawn[:SHOWN]:
        say(f"withdrawn {moment(entry.at)} by {entry.who}: {entry.reason}")
    say_more(len(value.withdrawn))
    banks = [
        (entry.category, entry.bank_version, entry.dataset_version, _role(entry), len(entry.batches))
        for entry in value.banks
    ]
    show_some(f"banks built from it: {len(banks)}", ("category", "bank", "data set", "role", "batches"), banks)
    scored = [entry for bank in value.banks for entry in bank.batches]
    _batches(f"batches that they scored: {len(scored)}", scored)
    measured = [f"{each.category} {each.bank_version}" for each in value.measured]
    _name_some("evaluated on it, not built from it", measured)
    unlisted = [f"{each.category} {each.dataset_version}" for each in value.unlisted]
    _name_some("data-set versions whose images are not known", unlisted)


def _name_some(words: str, names: Sequence[str]) -> None:
    if names:
        say(f"{words}: {', '.join(names[:SHOWN])}{more(len(names))}")


def compare(value: "ComparisonAnswer") -> None:
    """Show the images that two banks decided differently."""
    first, second = value.first.bank_version, value.second.bank_version
    if not value.batches and not value.archived:
        again = f"patchcore score {value.category} FOLDER --batch BATCH --rescore --reason TEXT"
        say(f"no batch was scored by both {first} and {second}; score a batch of one with the other: {again}")
        return
    show_pairs(
        f"{value.category}, bank versions {first} and {second}",
        [
            ("batches that both scored", len(value.batches)),
            ("images compared", value.compared),
            ("same decision", value.agreeing),
            (f"anomalous for {first} only", value.anomalous_for_first_only),
            (f"anomalous for {second} only", value.anomalous_for_second_only),
        ],
    )
    rows = [
        (
            entry.batch,
            entry.path,
            f"{number(entry.first_score)} {decision(entry.first_anomalous)}",
            f"{number(entry.second_score)} {decision(entry.second_anomalous)}",
        )
        for entry in value.disagreements
    ]
    if rows:
        show_some("different decisions", ("batch", "image", f"bank {first}", f"bank {second}"), rows)
    if value.archived:
        count = len(value.archived)
        batches = counted(count + len(value.batches), "batch", "batches")
        say(f"not compared, because their images are in an archive: {count} of {batches}")


def _batches(title: str, entries: "Sequence[ScoredBatchAnswer]") -> None:
    several = len({entry.category for entry in entries}) > 1
    rows = [
        (
            entry.batch if entry.scoring == 1 else f"{entry.batch}, scoring {entry.scoring}",
            f"{entry.category} {entry.bank_version}" if several else entry.bank_version,
            to_the_second(entry.scored_at),
            f"{entry.received}, {entry.failed} failed" if entry.failed else entry.received,
            "-" if entry.passed is None else entry.passed,
            "-" if entry.anomalous is None else entry.anomalous,
            entry.overridden,
        )
        for entry in entries
    ]
    show_some(title, ("batch", "bank", "scored at", "images", "passed", "alarms", "changed"), rows)
    if archived := sum(entry.passed is None for entry in entries):
        batches = counted(len(entries), "batch", "batches")
        say(f"not counted, because their images are in an archive: {archived} of {batches}")


def _versions(membership: "ImageMembership") -> str:
    if membership.last is None:
        return f"{membership.first} to now"
    return f"{membership.first} to {membership.last}{', and now again' if membership.present else ''}"


def _part(entry: "ImageMembership") -> str:
    return "normal" if entry.normal else f"evaluation, {entry.part.partition('/')[2]}"


def _role(entry: "BankWithImage") -> str:
    if entry.role is None:
        return "unknown: not on this machine, add --fetch"
    if entry.role == "remembered":
        return f"remembered, {counted(entry.rows or 0, 'row')}"
    return "held out for calibration"
