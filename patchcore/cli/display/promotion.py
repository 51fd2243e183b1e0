"""What a person sees of the gate, of promotions and of what was put right."""

from collections.abc import Mapping
from typing import Any

from patchcore.cli.display.terminal import moment, say, show_table


def judged(value: Mapping[str, Any]) -> None:
    """Show a verdict and what came of it."""
    rows = [reason.split(": ", 1) for reason in value["gate"]["reasons"]]
    passed = "passed" if value["gate"]["passed"] else "not passed"
    show_table(f"gate: {passed}{', overridden by force' if value['forced'] else ''}", ("", ""), rows, header=False)
    if value["proposed"]:
        category, version = value["category"], value["bank_version"]
        say(f"proposed; another person approves it with: patchcore promote {category} {version} --approve")
    production, since = value["production"], value.get("production_since")
    if since and value["decision"] is None and production == value["bank_version"]:
        say(f"version {production} is in production already, since {moment(since)}, nothing to decide")
        return
    say(f"in production: {'nothing' if production is None else f'version {production}'}")


def rolled_back(value: Mapping[str, Any]) -> None:
    """Show a rollback."""
    say(f"{value['category']}: version {value['bank_version']} is in production, after {value['from_version']}")
    if value["repeated"]:
        say(f"that was done at {moment(value['at'])} already, for this reason; to go further back: --to VERSION")


def reconciled(value: Mapping[str, Any]) -> None:
    """Show what did not say what the ledger says."""
    for line in value["reconciled"]:
        say(f"reconciled: {line}")
    production = value["production"]
    state = "nothing" if production is None else f"version {production}"
    again = " again" if value["reconciled"] else ""
    say(f"{value['category']}: {state} is in production; the registry says so{again}")
