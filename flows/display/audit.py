"""What a person sees of the past: short tables, times in UTC, and the first of a long list."""

from collections.abc import Mapping, Sequence
from typing import Any

from flows.display.lifecycle import bank_rows, metric_rows
from flows.display.terminal import Row, moment, number, say, show_pairs, show_table, to_the_second

_SHOWN = 20

Value = Mapping[str, Any]


def batch(value: Value) -> None:
    """Show which bank scored a batch, where that bank came from, and what was changed about the batch since."""
    dataset, promotion = value["dataset"], value["promotion"]
    promoted = f"{moment(promotion['at'])} by {promotion['who']}: {promotion['reason']}" if promotion else "never"
    anomalous = sum(image["anomalous"] for image in value["images"])
    show_pairs(
        f"batch {value['batch']}, scoring {value['scoring']} of {len(value['scorings'])}",
        [
            ("category", value["category"]),
            ("scored at", f"{moment(value['scored_at'])} by {value['who']}"),
            ("images", f"{value['received']} received, {value['scored']} scored, {len(value['failed'])} failed"),
            ("anomalous", "archived" if value["archived"] else anomalous),
            ("bank version", f"{value['bank_version']}, sha256 {_short(value['bank_sha256'])}"),
            ("threshold", _threshold(value)),
            ("promoted", promoted),
            ("data-set version", f"{value['dataset_version']}, {dataset['normals']} normal images"),
            ("data-set sha256", _short(value["dataset_sha256"])),
            ("MLflow run", value["bank"]["run_id"]),
            ("code", f"{value['code_version']}, {value['runtime']}"),
        ],
    )
    if len(value["scorings"]) > 1:
        rows = [
            (entry["scoring"], moment(entry["scored_at"]), entry["who"], entry["bank_version"], entry["reason"] or "")
            for entry in value["scorings"]
        ]
        _show_some("scorings", ("scoring", "scored at", "by", "bank version", "reason"), rows)
    if value["overrides"]:
        _overrides(value["overrides"])
    if (images := value["dataset_images"]["images"]) is not None:
        _members(f"images of data-set version {value['dataset_version']}", images)


def dataset(value: Value) -> None:
    """Show the images of a data-set version."""
    show_pairs(
        f"{value['category']}, data-set version {value['number']}",
        [
            ("sha256", value["sha256"]),
            ("normal images", value["normals"]),
            ("evaluation images", value["evaluation_images"]),
            ("recorded", f"{moment(value['at'])} by {value['who']}"),
            ("git commit", value["git_commit"] or "none"),
            ("banks built from it", ", ".join(map(str, value["banks"])) or "none"),
        ],
    )
    if (images := value["dataset_images"]["images"]) is None:
        say("its images were not recorded: it is older than lists of them")
    else:
        _members("its images", images)


def image(value: Value) -> None:
    """Show every scoring of an image."""
    rows = [
        (
            moment(record["scored_at"]),
            f"{record['batch']}, scoring {record['scoring']}",
            record["bank_version"],
            "-" if record["score"] is None else number(record["score"]),
            number(record["threshold"]),
            _said(record),
        )
        for record in value["records"]
    ]
    title = f"image {_short(value['sha256'])}: {len(rows)} scorings"
    _show_some(title, ("scored at", "batch", "bank", "score", "threshold", "decision"), rows)
    if missing := value["archives_missing"]:
        say(f"archives that are not here, which may hold more: {', '.join(missing[:_SHOWN])}{_more(len(missing))}")
    if changed := [entry for record in value["records"] for entry in record["overrides"]]:
        _overrides(changed)


def bank(value: Value) -> None:
    """Show what was measured of a bank, the decisions about it and the batches that it scored."""
    title = f"{value['category']}, bank version {value['bank_version']}, data-set version {value['dataset_version']}"
    rows = metric_rows(value["metrics"] or {})
    if found := value["certificate"]:
        radius = f"{found['radius']:.4f} of a row, all {found['patches']} of {found['arrivals']} arrivals"
        rows += [("bank rows", bank_rows(found["rows"], found)), ("every patch within", radius)]
    else:
        rows.append(("its rows", "the bank is not on this machine, --fetch gets it"))
    show_pairs(title, rows)
    decisions = [(moment(entry["at"]), entry["action"], entry["who"], entry["reason"]) for entry in value["decisions"]]
    _show_some(f"decisions about it: {len(decisions)}", ("at", "action", "who", "reason"), decisions)
    _batches(f"batches that it scored: {len(value['batches'])}", value["batches"])


def normal(value: Value) -> None:
    """Show where a normal image is, which banks have it, and what these scored."""
    rows = [(entry["category"], _versions(entry), _part(entry), entry["path"]) for entry in value["memberships"]]
    title = f"image {_short(value['sha256'])}: {'in these data-set versions' if rows else 'in no data-set version'}"
    _show_some(title, ("category", "versions", "part", "path"), rows)
    banks = [
        (entry["category"], entry["bank_version"], entry["dataset_version"], _role(entry), len(entry["batches"]))
        for entry in value["banks"]
    ]
    _show_some(f"banks built from it: {len(banks)}", ("category", "bank", "data set", "role", "batches"), banks)
    scored = [entry for bank in value["banks"] for entry in bank["batches"]]
    _batches(f"batches that they scored: {len(scored)}", scored)
    for words, entries, version in (
        ("measured on it, not built from it", value["measured"], "bank_version"),
        ("data-set versions whose images are not known", value["unlisted"], "dataset_version"),
    ):
        named = [f"{entry['category']} {entry[version]}" for entry in entries]
        if named:
            say(f"{words}: {', '.join(named[:_SHOWN])}{_more(len(named))}")


def at(value: Value) -> None:
    """Show what was in production at a time, and who had decided that."""
    show_pairs(
        f"{value['category']} at {moment(value['at'])}",
        [
            ("bank version", value["bank_version"]),
            ("sha256", value["bank_sha256"]),
            ("since", moment(value["since"])),
            ("until", moment(value["until"]) if value["until"] else "now"),
            ("after bank version", value["from_version"] or "none"),
            ("decided by", f"{value['who']}, {_action(value['decision'])}"),
            ("reason", value["reason"]),
        ],
    )


def compare(value: Value) -> None:
    """Show how often two banks decide alike, and where they do not."""
    first, second = value["first"]["bank_version"], value["second"]["bank_version"]
    show_pairs(
        f"{value['category']}, bank versions {first} and {second}",
        [
            ("batches that both scored", len(value["batches"])),
            ("images compared", value["compared"]),
            ("decided alike", value["agreeing"]),
            (f"anomalous for {first} only", value["anomalous_for_first_only"]),
            (f"anomalous for {second} only", value["anomalous_for_second_only"]),
        ],
    )
    rows = [
        (
            entry["batch"],
            entry["path"],
            f"{number(entry['first_score'])} {_decision(entry['first_anomalous'])}",
            f"{number(entry['second_score'])} {_decision(entry['second_anomalous'])}",
        )
        for entry in value["disagreements"]
    ]
    if rows:
        _show_some("decided differently", ("batch", "image", f"bank {first}", f"bank {second}"), rows)
    if value["archived"]:
        count = len(value["archived"])
        say(f"not compared, for their images lie in an archive: {count} of {count + len(value['batches'])} batches")


def completeness(value: Value) -> None:
    """Show whether nothing of a batch was lost."""
    files = "gone, not compared" if value["folder"] is None else f"{value['files']} files in {value['folder']}"
    show_pairs(
        f"batch {value['batch']}, scoring {value['scoring']}: {'complete' if value['complete'] else 'NOT complete'}",
        [
            ("images", f"{value['received']} received, {value['scored']} scored, {value['failed']} failed"),
            ("image records", value["images"]),
            ("digest of the images", _short(value["images_sha256"])),
            ("their folder", files),
        ],
    )
    problems = [(entry["path"] or "the batch", entry["problem"]) for entry in value["problems"]]
    if problems:
        _show_some("problems", ("path", "problem"), problems)


def history(value: Value) -> None:
    """Show every decision about a category."""
    rows = [
        (entry["sequence"], moment(entry["at"]), _action(entry), _change(entry), entry["who"], _why(entry))
        for entry in value["history"]
    ]
    title = f"{value['category']}, in production: {f'version {now}' if (now := value['production']) else 'nothing'}"
    shown = rows[-_SHOWN:]  # of a long history the end is what matters
    show_table(title, ("record", "at", "what", "bank", "who", "why"), shown)
    if len(rows) > len(shown):
        say(f"… and {len(rows) - len(shown)} earlier ones, see --json")


def _batches(title: str, entries: Sequence[Value]) -> None:
    several = len({entry["category"] for entry in entries}) > 1
    rows = [
        (
            entry["batch"] if entry["scoring"] == 1 else f"{entry['batch']}, scoring {entry['scoring']}",
            f"{entry['category']} {entry['bank_version']}" if several else entry["bank_version"],
            to_the_second(entry["scored_at"]),
            f"{entry['received']}, {entry['failed']} failed" if entry["failed"] else entry["received"],
            "-" if entry["passed"] is None else entry["passed"],
            "-" if entry["anomalous"] is None else entry["anomalous"],
            entry["overridden"],
        )
        for entry in entries
    ]
    _show_some(title, ("batch", "bank", "scored at", "images", "passed", "alarms", "changed"), rows)
    if archived := sum(entry["passed"] is None for entry in entries):
        say(f"not counted, for their images lie in an archive: {archived} of {len(entries)} batches")


def _overrides(entries: Sequence[Value]) -> None:
    rows = [
        (
            moment(entry["at"]),
            f"{entry['batch']}, scoring {entry['scoring']}",
            entry["path"],
            f"{_decision(entry['old'])} to {_decision(entry['new'])}",
            entry["who"],
            entry["reason"],
        )
        for entry in entries
    ]
    _show_some("decided otherwise by people", ("at", "batch", "image", "decision", "who", "reason"), rows)


def _members(title: str, images: Sequence[Value]) -> None:
    rows = [(entry["part"], entry["path"], _short(entry["sha256"])) for entry in images]
    _show_some(f"{title}: {len(rows)}", ("part", "path", "sha256"), rows)


def _show_some(title: str, columns: Sequence[str], rows: Sequence[Row]) -> None:
    if not rows:
        say(title)
        return
    show_table(title, columns, rows[:_SHOWN])
    if more := _more(len(rows)):
        say(more.strip())


def _more(count: int) -> str:
    return f" … and {count - _SHOWN} more, see --json" if count > _SHOWN else ""


def _short(sha256: str) -> str:
    return f"{sha256[:16]}…"


def _threshold(value: Value) -> str:
    images = "unknown" if value["calibration_images"] is None else value["calibration_images"]
    rate = f"false-alarm rate {value['false_alarm_rate']:.3g}"
    return f"{value['threshold']:.4f}, {rate}, calibration images: {images}"


def _decision(anomalous: bool) -> str:
    return "ANOMALOUS" if anomalous else "normal"


def _said(record: Value) -> str:
    """Return what the bank decided, and what a person decided last, where somebody did."""
    if record["score"] is None:
        return "failed"
    changed = f", then {_decision(record['overrides'][-1]['new'])}" if record["overrides"] else ""
    return f"{_decision(record['anomalous'])}{changed}"


def _versions(membership: Value) -> str:
    if membership["last"] is None:
        return f"{membership['first']} to now"
    return f"{membership['first']} to {membership['last']}{', and now again' if membership['present'] else ''}"


def _part(entry: Value) -> str:
    return "normal" if entry["normal"] else f"evaluation, {entry['part'].partition('/')[2]}"


def _role(entry: Value) -> str:
    if entry["role"] is None:
        return "unknown: not on this machine, --fetch gets it"
    return f"remembered, {entry['rows']} rows" if entry["role"] == "remembered" else "held out for calibration"


def _action(entry: Value) -> str:
    return f"{entry['action']}, forced" if entry.get("forced") else str(entry["action"])


def _change(entry: Value) -> str:
    return "" if entry["kind"] == "event" else f"{entry['from_version'] or 'none'} to {entry['to_version']}"


def _why(entry: Value) -> str:
    """Return the reason of a decision, what the gate said, and which other record it belongs to."""
    if entry["kind"] == "event":
        return "; ".join(f"{name}: {said}" for name, said in entry["summary"].items())
    gate = "" if entry["passed"] is None else f"; gate {'passed' if entry['passed'] else 'NOT passed'}"
    proposal = f"; approves {entry['proposal']}" if entry["proposal"] is not None else ""
    approval = f"; approved by {entry['approved_by']}" if entry["approved_by"] is not None else ""
    return f"{entry['reason']}{gate}{proposal}{approval}"
