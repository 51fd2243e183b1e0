"""What a flow run leaves in Prefect for a person to read.

A page is a courtesy, like the webhook: where Prefect does not take it, that is said in a line, and nothing fails.
"""

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from prefect.artifacts import create_markdown_artifact, create_table_artifact

from patchcore.evaluation.gate import Verdict


def leave_markdown(key: str, category: str, text: str) -> None:
    """Leave a page of text under a key of its own for each category, so that Prefect shows its history."""
    _leave(lambda: create_markdown_artifact(key=_key(key, category), markdown=text))


def leave_table(key: str, category: str, rows: Sequence[Mapping[str, Any]], description: str) -> None:
    """Leave a table, likewise."""
    table = [dict(row) for row in rows]
    _leave(lambda: create_table_artifact(key=_key(key, category), table=table, description=description))


def verdict_page(
    category: str, version: int, verdict: Verdict, outcome: str, metrics: Mapping[str, float | str | None]
) -> str:
    """Return the gate's verdict as markdown: what was decided, every reason, every metric."""
    reasons = "\n".join(f"- {reason}" for reason in verdict.reasons)
    rows = "\n".join(f"| {name} | {_metric(value)} |" for name, value in metrics.items())
    passed = "passed" if verdict.passed else "did not pass"
    return (
        f"# Bank version {version} of {category} {passed} the gate\n\n{outcome}\n\n{reasons}\n\n"
        f"| metric | value |\n|---|---|\n{rows}\n"
    )


def validation_page(category: str, report: Mapping[str, Any]) -> str:
    """Return a validation.json as markdown: every check, and the offending files of those that failed."""
    lines = [f"# The images of {category} {'are valid' if report['passed'] else 'are refused'}", ""]
    for check in report["checks"]:
        lines.append(f"- {'met' if check['passed'] else '**failed**'}: {check['name']}, expected {check['expected']}")
        lines += [f"  - `{path}`" for path in check["offending"][:100]]
    return "\n".join(lines) + "\n"


def happening_page(text: str, reasons: Sequence[str], warnings: Sequence[str]) -> str:
    """Return what an ingest or a retrain did as markdown: a sentence, the reasons, and who could not be told."""
    lines = [text, *(f"- {reason}" for reason in reasons), *(f"**Warning:** {warning}" for warning in warnings)]
    return "\n\n".join(lines) + "\n"


def _leave(make: Callable[[], object]) -> None:
    try:
        make()
    except Exception as error:  # noqa: BLE001  # what was done is done, whatever the server or its client says
        sys.stderr.write(f"warning: Prefect does not show a page of this run: {type(error).__name__}: {error}\n")


def _metric(value: float | str | None) -> str:
    return "no masks" if value is None else value if isinstance(value, str) else f"{value:.4f}"


def _key(name: str, category: str) -> str:
    return re.sub(r"[^a-z0-9-]", "-", f"{name}-{category}".lower())
