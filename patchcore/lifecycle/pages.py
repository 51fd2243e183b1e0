"""Pages in Markdown that commands leave for people to read."""

from collections.abc import Mapping, Sequence
from typing import Any

from patchcore.evaluation.gate import Verdict


def verdict_page(
    category: str, version: int, verdict: Verdict, outcome: str, metrics: Mapping[str, float | str | None]
) -> str:
    """Return the verdict of the gate: what was decided, every reason, every metric.

    Args:
        category: The category.
        version: The bank version.
        verdict: What the gate said.
        outcome: What was done, in a sentence.
        metrics: What was measured, by name; None where there are no masks.
    """
    reasons = "\n".join(f"- {reason}" for reason in verdict.reasons)
    rows = "\n".join(f"| {name} | {_metric(value)} |" for name, value in metrics.items())
    passed = "passed" if verdict.passed else "did not pass"
    return (
        f"# Bank version {version} of {category} {passed} the gate\n\n{outcome}\n\n{reasons}\n\n"
        f"| metric | value |\n|---|---|\n{rows}\n"
    )


def validation_page(category: str, report: Mapping[str, Any]) -> str:
    """Return a validation.json: every check, and the offending files of those that failed."""
    lines = [f"# The images of {category} {'are valid' if report['passed'] else 'are refused'}", ""]
    for check in report["checks"]:
        lines.append(f"- {'met' if check['passed'] else '**failed**'}: {check['name']}, expected {check['expected']}")
        lines += [f"  - `{path}`" for path in check["offending"][:100]]
    return "\n".join(lines) + "\n"


def event_page(text: str, details: Sequence[str], warnings: Sequence[str]) -> str:
    """Return an event: a sentence, its details, and the warnings about its publication."""
    lines = [text, *(f"- {detail}" for detail in details), *(f"**Warning:** {warning}" for warning in warnings)]
    return "\n\n".join(lines) + "\n"


def _metric(value: float | str | None) -> str:
    return "no masks" if value is None else value if isinstance(value, str) else f"{value:.4f}"
