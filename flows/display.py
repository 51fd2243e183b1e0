"""What a person sees at the end of a command: short tables, numbers that mean something, the next step."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

Row = Sequence[object]


def added(value: Mapping[str, Any]) -> None:
    """Show a new category."""
    _pairs(
        f"category {value['category']}",
        [
            ("normal images", value["normals"]),
            ("evaluation images", value["evaluation_images"]),
            ("masks", value["masks"]),
            ("data-set version", value["dataset_version"]),
        ],
    )


def ingested(value: Mapping[str, Any]) -> None:
    """Show what became of new images."""
    for entry in value["quarantined"]:
        _say(f"quarantined {entry['source']}\n    {entry['reason']}\n    now at {entry['path']}")
    if value["waiting"]:
        _say(f"left for the next run, still being written: {value['waiting']}")
    _pairs(
        f"{value['category']}, data-set version {value['dataset_version']}",
        [
            ("taken", len(value["taken"])),
            ("in quarantine", len(value["quarantined"])),
            ("known already", len(value["known"])),
            ("normal images now", value["normals"]),
        ],
    )


def retrained(value: Mapping[str, Any]) -> None:
    """Show a bank version and what the gate said."""
    if "bank_version" not in value:
        _say(f"{value['category']}: no new normal images, nothing to do")
        return
    metrics = value["metrics"]
    _pairs(
        f"{value['category']}, bank version {value['bank_version']}"
        f" from data-set version {value['dataset_version']}" + ("" if value["new"] else " (nothing new)"),
        [
            ("bank", value["bank_sha256"][:16]),
            ("image AUROC", _number(metrics["image_auroc"])),
            ("average precision", _number(metrics["average_precision"])),
            ("F1-max", _number(metrics["f1_max"])),
            ("pixel AUROC", _number(metrics["pixel_auroc"])),
            ("AUPRO", _number(metrics["aupro"])),
            ("threshold", _number(value["threshold"])),
            ("bank rows", _rows(int(metrics["bank_rows"]), metrics)),
            ("every patch within", f"{metrics['covering_radius']:.4f} of a row"),
        ],
    )
    judged(value)


def judged(value: Mapping[str, Any]) -> None:
    """Show a verdict."""
    rows = [reason.split(": ", 1) for reason in value["gate"]["reasons"]]
    _table(f"gate: {'passed' if value['gate']['passed'] else 'not passed'}", ("", ""), rows, header=False)
    production = value["production"]
    _say(f"in production: {'nothing' if production is None else f'version {production}'}")


def rolled_back(value: Mapping[str, Any]) -> None:
    """Show a rollback."""
    _say(f"{value['category']}: version {value['bank_version']} is in production, after {value['from_version']}")


def scored(value: Mapping[str, Any]) -> None:
    """Show a batch, the most anomalous images first."""
    images = sorted(value["images"], key=lambda image: -image["score"])
    rows = [
        (image["path"].rsplit("/", 1)[-1], _number(image["score"]), f"{image['p_value']:.3f}", _decision(image))
        for image in images[:10]
    ]
    _table(
        f"batch {value['batch']}: {value['category']}, bank version {value['bank_version']}",
        ("image", "score", "p-value", "decision"),
        rows,
    )
    for failure in value["failed"]:
        _say(f"failed: {failure['path']}: {failure['reason']}")
    anomalous = sum(image["anomalous"] for image in images)
    more = f", the first {len(rows)} shown" if len(images) > len(rows) else ""
    _say(
        f"{value['received']} received, {value['scored']} scored{more}, {len(value['failed'])} failed; "
        f"{anomalous} anomalous at threshold {value['threshold']:.2f}"
    )
    if value.get("recorded_before"):
        _say(f"scored before, on {value['scored_at']}: this is what was recorded")


def audited_batch(value: Mapping[str, Any]) -> None:
    """Show which bank scored a batch, and where that bank came from."""
    dataset, promotion = value["dataset"], value["promotion"]
    _pairs(
        f"batch {value['batch']}",
        [
            ("category", value["category"]),
            ("scored at", value["scored_at"]),
            ("scored by", value["who"]),
            ("images", f"{value['received']} received, {value['scored']} scored, {len(value['failed'])} failed"),
            ("anomalous", sum(image["anomalous"] for image in value["images"])),
            ("bank version", f"{value['bank_version']}, sha256 {value['bank_sha256'][:16]}…"),
            ("threshold", f"{value['threshold']:.4f}, false-alarm rate {value['false_alarm_rate']:.3g}"),
            ("promoted", f"{promotion['at']} by {promotion['who']}: {promotion['reason']}" if promotion else "unknown"),
            ("data-set version", f"{value['dataset_version']}, {dataset['normals']} normal images"),
            ("data-set sha256", f"{value['dataset_sha256'][:16]}…"),
            ("MLflow run", value["bank"]["run_id"]),
            ("code", f"{value['code_version']}, {value['runtime']}"),
        ],
    )


def audited_image(value: Mapping[str, Any]) -> None:
    """Show every scoring of an image."""
    rows = [
        (
            record["scored_at"],
            record["batch"],
            record["bank_version"],
            "-" if record["score"] is None else _number(record["score"]),
            "failed" if record["score"] is None else _decision(record),
        )
        for record in value["records"]
    ]
    title = f"image {value['sha256'][:16]}…"
    _table(title, ("scored at", "batch", "bank version", "score", "decision"), rows)


def audited_bank(value: Mapping[str, Any]) -> None:
    """Show the decisions about a bank and the batches that it scored."""
    decisions = [(entry["at"], entry["action"], entry["who"], entry["reason"]) for entry in value["decisions"]]
    title = f"{value['category']}, bank version {value['bank_version']}, data-set version {value['dataset_version']}"
    if found := value["certificate"]:
        radius = f"{found['radius']:.4f} of a row, all {found['patches']} of {found['arrivals']} arrivals"
        _pairs(title, [("bank rows", _rows(found["rows"], found)), ("every patch within", radius)])
    _table(f"{title}: decisions", ("at", "action", "who", "reason"), decisions)
    batches = [(entry["batch"], entry["scored_at"], entry["received"], entry["failed"]) for entry in value["batches"]]
    _table("batches that it scored", ("batch", "scored at", "received", "failed"), batches)


def audited_time(value: Mapping[str, Any]) -> None:
    """Show what was in production at a time."""
    _pairs(
        f"{value['category']} at {value['at']}",
        [
            ("bank version", value["bank_version"]),
            ("sha256", value["bank_sha256"]),
            ("since", value["since"]),
            ("until", value["until"] or "now"),
        ],
    )


def verified(value: Mapping[str, Any]) -> None:
    """Show the state of the ledger."""
    for problem in value["problems"]:
        _say(f"problem: {problem}")
    _say(f"{value['records']} records, head {value['head'][:16]}…: {'sound' if value['ok'] else 'NOT sound'}")


def lineage(rows: Sequence[Mapping[str, Any]]) -> None:
    """Show bank versions side by side, a column a fact."""
    _table("bank versions", list(rows[0]), [list(row.values()) for row in rows])


def one_line(words: Callable[[Mapping[str, Any]], str]) -> Callable[[Mapping[str, Any]], None]:
    """Return what shows a value as one line."""
    return lambda value: _say(words(value))


def _console() -> Console:
    return Console(highlight=False, soft_wrap=True)


def _say(text: str) -> None:
    _console().print(f"  {text}", markup=False)


def _pairs(title: str, rows: Sequence[tuple[str, object]]) -> None:
    _table(title, ("", ""), rows, header=False)


def _table(title: str, columns: Sequence[str], rows: Sequence[Row], *, header: bool = True) -> None:
    table = Table(show_header=header)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(Text(str(cell)) for cell in row))
    console = _console()
    console.print(f"  {title}", style="bold", markup=False)
    console.print(Padding(table, (0, 0, 0, 2)), soft_wrap=False)


def _rows(rows: int, counts: Mapping[str, Any]) -> str:
    """Return a number of rows, and how they came together where there was more than one arrival."""
    added, merged = (int(counts.get(name) or 0) for name in ("rows_added", "rows_merged"))
    return f"{rows} ({added} added to the first, {merged} merged)" if added or merged else str(rows)


def _decision(image: Mapping[str, Any]) -> str:
    return "ANOMALOUS" if image["anomalous"] else "normal"


def _number(value: float | None) -> str:
    return "no masks" if value is None else f"{value:.4f}"
