"""What a person sees of batches: scored, scored again, decided otherwise, replayed, explained."""

from collections.abc import Mapping
from typing import Any

from flows.display import lifecycle as display
from flows.display.terminal import number, say, show_pairs, show_table

_SHOWN = 20


def scored(value: Mapping[str, Any]) -> None:
    """Show a batch, and the scorings that it had before."""
    display.scored(value)
    if len(value["scorings"]) > 1:
        rows = [
            (entry["scoring"], entry["scored_at"], entry["who"], entry["bank_version"], entry["reason"] or "")
            for entry in value["scorings"]
        ]
        show_table("scorings of this batch", ("scoring", "scored at", "by", "bank version", "reason"), rows)


def overridden(value: Mapping[str, Any]) -> None:
    """Show a person's decision."""
    bank = value["bank"]
    show_pairs(
        f"{value['path']} in batch {value['batch']}",
        [
            ("was", _decision(value["old"])),
            ("is", _decision(value["new"])),
            ("decided by", f"{value['who']}, {value['at']}"),
            ("reason", value["reason"]),
            (f"bank version {bank['bank_version']}", f"{_decision(bank['anomalous'])}, score {number(bank['score'])}"),
        ],
    )


def replayed(value: Mapping[str, Any]) -> None:
    """Show whether a batch has the same scores again, and what has not."""
    then, now = value["then"], value["now"]
    show_pairs(
        f"batch {value['batch']}, scoring {value['scoring']}, again by bank version {value['bank_version']}",
        [
            ("then", f"{then['at']} by {then['who']}: {then['runtime']}, {then['code_version']}"),
            ("now", f"{now['at']} by {now['who']}: {now['runtime']}, {now['code_version']}"),
            ("images", f"{value['received']} received, {value['equal']} with the same result, bit for bit"),
        ],
    )
    rows = [
        (entry["path"], _result(entry["recorded"]), _result(entry["now"]), _difference(entry["difference"]))
        for entry in value["different"]
    ]
    if rows:
        show_table("another result", ("image", "recorded", "now", "difference"), rows[:_SHOWN])
        _say_more(len(rows))
    for entry in value["missing"][:_SHOWN]:
        say(f"not scored: {entry['path']}: {entry['reason']}")
    _say_more(len(value["missing"]))


def explained(value: Mapping[str, Any]) -> None:
    """Show which patch made a score, and the normal patch that is nearest to it."""
    here, nearest = value["position"], value["nearest"]
    show_pairs(
        f"{value['path']} in batch {value['batch']}, scoring {value['scoring']}",
        [
            ("score", f"{number(value['score'])}, threshold {number(value['threshold'])}"),
            ("decision of the bank", _decision(value["anomalous"])),
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
    return f"{image['score']:.9g} {_decision(image['anomalous'])}"


def _difference(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


def _decision(anomalous: bool) -> str:
    return "ANOMALOUS" if anomalous else "normal"


def _say_more(count: int) -> None:
    if count > _SHOWN:
        say(f"… and {count - _SHOWN} more, see --json")
