"""One bank version before the gate: judged, the verdict carried out, and shown."""

from typing import Any

from flows.artifacts import leave_markdown, verdict_page
from patchcore.adapters.registry import BankVersion
from patchcore.gates import Verdict
from patchcore.lifecycle import promotion
from patchcore.lifecycle.services import Services


def judge_and_promote(services: Services, category: str, bank: BankVersion, reason: str) -> dict[str, Any]:
    """Judge a bank version and carry the verdict out, by the names of the command's contract.

    Raises:
        Refused: production changed meanwhile, or the bank cannot be used.
    """
    judgement = promotion.judge(services, category, bank)
    done = promotion.promote(services, category, bank, judgement, reason=reason)
    words = f"Version {bank.version} is in production." if done.promoted else "Production stays as it was."
    leave_markdown("gate", category, verdict_page(category, bank.version, done.verdict, words, bank.metrics))
    return outcome(
        done.verdict, promoted=done.promoted, production=done.production.version if done.production else None
    )


def outcome(verdict: Verdict, *, promoted: bool, production: int | None) -> dict[str, Any]:
    """Return a verdict by the names of the command's contract."""
    gate = {"passed": verdict.passed, "reasons": list(verdict.reasons)}
    return {"gate": gate, "promoted": promoted, "production": production}
