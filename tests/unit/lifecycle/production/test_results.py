"""The results of retrain, promote, rollback and reconcile: the keys of version 0.1, and the refusal of the gate."""

import pytest
from pydantic import ValidationError

from patchcore._util.model import Model
from patchcore.cli.commands.production import gated
from patchcore.errors import GateRefused
from patchcore.evaluation.gate import Evaluation, Rules, judge
from patchcore.lifecycle.anchor_result import AnchorResult
from patchcore.lifecycle.production.results import (
    GateResult,
    PromotionResult,
    ReconcileResult,
    RetrainResult,
    RetrainSkipped,
    RollbackResult,
    gate_result,
)

DECIDED = {"gate", "promoted", "production", "proposed", "forced", "decision", "proposal", "reconciled", "anchored"}
BANK = {"category", "bank_version", "bank_sha256", "metrics"}
KEYS_OF_0_1: dict[type[Model], set[str]] = {
    RetrainResult: BANK | DECIDED | {"dataset_version", "dataset_sha256", "run_id", "threshold", "new"},
    PromotionResult: BANK | DECIDED | {"production_since"},
    RetrainSkipped: {"category", "promoted", "new", "reason"},
    RollbackResult: {
        *("category", "from_version", "bank_version", "bank_sha256", "reason", "who", "at", "decision"),
        *("repeated", "reconciled", "anchored"),
    },
    ReconcileResult: {"category", "production", "reconciled", "anchored"},
}


@pytest.mark.parametrize(("result", "keys"), KEYS_OF_0_1.items())
def test_results_have_the_keys_of_version_0_1(result: type[Model], keys: set[str]) -> None:
    assert result.model_fields.keys() == keys
    assert GateResult.model_fields.keys() >= {"passed", "reasons"}


def promotion(gate: GateResult, *, forced: bool = False) -> PromotionResult:
    return PromotionResult(
        category="part",
        bank_version=2,
        bank_sha256="0" * 64,
        metrics={"image_auroc": 0.5, "aupro": None, "normals": 20},
        gate=gate,
        promoted=forced,
        production=1,
        production_since="2026-01-01T00:00:00.000000Z",
        proposed=False,
        forced=forced,
        decision=3,
        proposal=None,
        reconciled=(),
        anchored=AnchorResult(size=3, head="0" * 64, places=(), failures=()),
    )


def verdict(image_auroc: float) -> GateResult:
    metrics = {"image_auroc": image_auroc, "pixel_auroc": None, "aupro": None}
    candidate = Evaluation(metrics, 20, 20, masks=False, evaluation_sha256="a" * 64)
    return gate_result(judge(candidate, Rules(0.9, 0.9, 0.8, 10, 10, 0.01, 0.01, 0.02), None))


def test_a_bank_that_did_not_pass_ends_the_command_with_the_rules_that_failed() -> None:
    refusal = gated(promotion(verdict(0.5))).refusal
    assert isinstance(refusal, GateRefused)
    assert (refusal.code, refusal.exit_code, refusal.got) == ("gate-refused", 3, "image_auroc 0.5000 < 0.9000")
    assert gated(promotion(verdict(0.95))).refusal is None
    assert gated(promotion(verdict(0.5), forced=True)).refusal is None


def test_a_result_is_frozen_and_its_json_has_the_rules_as_data() -> None:
    result = promotion(verdict(0.5))
    with pytest.raises(ValidationError, match="frozen"):
        result.promoted = True  # type: ignore[misc]  # that is the test
    shown = result.model_dump(mode="json")
    assert shown["metrics"] == {"image_auroc": 0.5, "aupro": None, "normals": 20}
    assert shown["gate"]["reasons"][0] == "failed: image_auroc 0.5000 < 0.9000"
    rule = {"rule": "image_auroc_at_least", "met": False, "value": 0.5, "limit": 0.9}
    assert shown["gate"]["rules"][0] == {**rule, "text": "image_auroc 0.5000 < 0.9000"}
