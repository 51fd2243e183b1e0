"""What a person sees of batches: scored, scored again, decided otherwise, replayed, explained."""

from collections.abc import Mapping
from typing import Any

from patchcore.cli.display.tables import SHOWN, decision, image_names, say_more, show_scorings, show_some
from patchcore.cli.display.terminal import moment, number, say, show_pairs, show_table


def scored(value: Mapping[str, Any]) -> None:
    """Show a batch, the most anomalous images first, and the scorings that it had before."""
    images = sorted(value["images"], key=lambda image: -image["score"])
    names = image_names([image["path"] for image in (*images, *value["failed"])])
    rows = [
        (
            names[image["path"]],
            number(image["score"]),
            f"{image['p_value']:.3f}",
            decision(image["anomalous"]),
        )
        for image in images[:10]
    ]
    again = f", scoring {value['scoring']}" if value["scoring"] > 1 else ""
    show_table(
        f"batch {value['batch']}{again}: {value['category']}, bank version {value['bank_version']}",
        ("image", "score", "p-value", "decision"),
        rows,
    )
    for failure in value["failed"]:
        say(f"failed: {failure['path']}: {failure['reason']}")
    anomalous = sum(image["anomalous"] for image in images)
    more = f", the first {len(rows)} shown" if len(images) > len(rows) else ""
    say(
        f"{value['received']} received, {value['scored']} scored{more}, {len(value['failed'])} failed; "
        f"{anomalous} anomalous at threshold {value['threshold']:.2f}"
    )
    if value.get("recorded_before"):
        say(f"scored before, on {moment(value['scored_at'])}: this is what was recorded")
    if len(value["scorings"]) > 1:
        show_scorings("scorings of this batch", value["scorings"])


def overridden(value: Mapping[str, Any]) -> None:
    """Show a person's decision."""
    bank = value["bank"]
    show_pairs(
        f"{value['path']} in batch {value['batch']}",
        [
            ("was", decision(value["old"])),
            ("is", decision(value["new"])),
            ("decided by", f"{value['who']}, {moment(value['at'])}"),
            ("reason", value["reason"]),
            (f"bank version {bank['bank_version']}", f"{decision(bank['anomalous'])}, score {number(bank['score'])}"),
        ],
    )


def replayed(value: Mapping[str, Any]) -> None:
    """Show whether a batch has the same scores again, and what has not."""
    then, now = value["then"], value["now"]
    show_pairs(
        f"batch {value['batch']}, scoring {value['scoring']}, again by bank version {value['bank_version']}",
        [
            ("then", f"{moment(then['at'])} by {then['who']}: {then['runtime']}, {then['code_version']}"),
            ("now", f"{moment(now['at'])} by {now['who']}: {now['runtime']}, {now['code_version']}"),
            ("images", f"{value['received']} received, {value['equal']} with the same result, bit for bit"),
        ],
    )
    rows = [
        (entry["path"], _result(entry["recorded"]), _result(entry["now"]), _difference(entry["difference"]))
        for entry in value["different"]
    ]
    if rows:
        show_some("another result", ("image", "recorded", "now", "difference"), rows)
    for entry in value["missing"][:SHOWN]:
        say(f"not scored: {entry['path']}: {entry['reason']}")
    say_more(len(value["missing"]))


def explained(value: Mapping[str, Any]) -> None:
    """Show which patch made a score, and the normal patch that is nearest to it."""
    here, nearest = value["position"], value["nearest"]
    show_pairs(
        f"{value['path']} in batch {value['batch']}, scoring {value['scoring']}",
        [
            ("score", f"{number(value['score'])}, threshold {number(value['threshold'])}"),
            ("decision of the bank", decision(value["anomalous"])),
            ("its worst patch", _place(here)),
            ("distance", number(nearest["distance"])),
            ("nearest normal patch", f"row {nearest['row']} of bank version {value['bank_version']}"),
            ("of image", f"{nearest['path']}, sha256 {nearest['sha256'][:16]}…"),
            ("there", _place(nearest["position"])),
            ("picture", value["picture"]),
        ],
    )
    if nearest["file"] is None:
        say("the normal image is not to be had any more: the picture shows the defect alone")


def _place(position: Mapping[str, Any]) -> str:
    words = f"row {position['row']}, column {position['column']} of the grid"
    if (box := position["box"]) is None:
        return words
    return f"{words}; pixels {box['left']} to {box['right']} across, {box['top']} to {box['bottom']} down"


def _result(image: Mapping[str, Any]) -> str:
    if image["score"] is None:
        return f"failed: {image['reason']}"
    return f"{image['score']:.9g} {decision(image['anomalous'])}"


def _difference(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"
