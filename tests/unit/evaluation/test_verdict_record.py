import json
import math
from dataclasses import asdict, replace

from patchcore.evaluation.gate import Evaluation, Incumbent, Rules, judge
from patchcore.evaluation.verdict_record import VerdictRecord, verdict_record
from patchcore.lifecycle.production.results import gate_result, recorded_gate_result

RULES = Rules(0.9, 0.85, 0.8, 10, 12, 0.01, 0.02, 0.03)
GOOD = Evaluation({"image_auroc": 0.95, "pixel_auroc": 0.9, "aupro": 0.88, "normals": 20}, 20, 20, True, "a" * 64)
INCUMBENT = Incumbent(7, replace(GOOD, metrics={"image_auroc": 0.955, "pixel_auroc": 0.91, "aupro": 0.9}))
OF_VERSION_0_1 = {
    "passed": False,
    "reasons": ["failed: image_auroc 0.8000 < 0.9000", "met: normal evaluation images 20 >= 10"],
    "metrics": {"image_auroc": 0.8},
    "normals": 20,
    "defects": 20,
    "evaluation_sha256": "a" * 64,
    "rules": asdict(RULES),
    "incumbent": None,
}


def record_of(candidate: Evaluation, incumbent: Incumbent | None = INCUMBENT) -> VerdictRecord:
    return verdict_record(RULES, candidate, incumbent, judge(candidate, RULES, incumbent))


def test_a_verdict_is_recorded_with_everything_that_it_follows_from_as_strict_json() -> None:
    candidate = replace(GOOD, metrics={**GOOD.metrics, "aupro": math.nan})
    verdict = judge(candidate, RULES, INCUMBENT)
    record = record_of(candidate).model_dump(mode="json")
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert (record["passed"], record["reasons"]) == (False, list(verdict.reasons))
    assert record["metrics"] == {"image_auroc": 0.95, "pixel_auroc": 0.9, "aupro": "nan", "normals": 20}
    assert (record["rules"], record["evaluation_sha256"]) == (asdict(RULES), "a" * 64)
    assert record["incumbent"] == {"version": 7, "metrics": {"image_auroc": 0.955, "pixel_auroc": 0.91, "aupro": 0.9}}
    lost = record_of(GOOD, Incumbent(7, "lost")).model_dump(mode="json")
    assert lost["incumbent"] == {"version": 7, "trouble": "lost"}
    assert record["judged"][0] == {
        "rule": "image_auroc_at_least", "met": True, "value": 0.95, "limit": 0.9, "text": "image_auroc 0.9500 >= 0.9000"
    }  # fmt: skip
    assert [type(record["judged"][place]["value"]) for place in (0, 3)] == [float, int]  # counts stay whole numbers
    assert record["judged"][2]["value"] == "nan"


def test_a_recorded_verdict_is_reported_as_it_was() -> None:
    verdict = judge(GOOD, RULES, None)
    stored = json.loads(json.dumps(record_of(GOOD, None).model_dump(mode="json"), sort_keys=True))
    assert recorded_gate_result(stored) == gate_result(verdict)
    assert gate_result(verdict).failures == ()


def test_a_verdict_of_version_0_1_has_words_only() -> None:
    found = recorded_gate_result(OF_VERSION_0_1)
    assert (found.passed, found.rules, list(found.reasons)) == (False, (), OF_VERSION_0_1["reasons"])
    assert found.failures == found.reasons
    none = recorded_gate_result({})
    assert (none.passed, none.reasons, none.rules) == (False, (), ())


def test_a_verdict_that_was_changed_by_hand_has_no_rules() -> None:
    assert recorded_gate_result({"passed": True, "reasons": 7, "judged": [{"rule": "none"}]}).rules == ()


def test_verdicts_agree_if_set_limits_and_rules_do() -> None:
    record = record_of(GOOD)
    stored = record.model_dump(mode="json")
    assert record.agrees_with(stored)
    assert not record.agrees_with({**stored, "evaluation_sha256": "b" * 64})
    assert not record.agrees_with({**stored, "rules": {**stored["rules"], "normals_at_least": 9}})
    assert not record.agrees_with({**stored, "judged": stored["judged"][1:]})
    of_0_1 = {name: value for name, value in stored.items() if name != "judged"}
    assert record.agrees_with(of_0_1)
    assert not record.agrees_with({**of_0_1, "reasons": of_0_1["reasons"][1:]})
