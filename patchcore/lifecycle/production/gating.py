"""Judging a bank version by the gate, beside the one in production, on the present evaluation set."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from patchcore.adapters.ledger.records import BankRecord, Production
from patchcore.config.params import GateParams
from patchcore.dataset.manifest import Manifest, scan
from patchcore.errors import Refused
from patchcore.evaluation import gate
from patchcore.evaluation.gate import Verdict
from patchcore.extraction.store import FeatureStore
from patchcore.lifecycle.bank_cache import bank_record, fetch_bank
from patchcore.lifecycle.services import Services
from patchcore.steps.evaluate import measure, metrics_of, report


@dataclass(frozen=True)
class Judgement:
    """A verdict, what it was reached from, and what was in production then: it holds for as long as that is."""

    verdict: Verdict
    production: Production | None
    record: Mapping[str, Any]

    def agrees_with(self, record: Mapping[str, Any]) -> bool:
        """Say whether an earlier verdict, as it was recorded, was the same: set, rules and every reason."""
        return all(self.record[name] == record.get(name) for name in ("evaluation_sha256", "rules", "reasons"))


def judge(services: Services, category: str, candidate: BankRecord) -> Judgement:
    """Judge a bank version by the gate, beside the one in production, on the present evaluation set.

    What was measured of a bank when it was registered stands in the ledger; what MLflow says of it now is not asked.
    A bank that was measured on another evaluation set is measured again first, for figures of different sets cannot
    be compared.

    Raises:
        Refused: the candidate is damaged, or the evaluation set has one class only.
    """
    manifest = scan(services.workspace, category)
    production = services.ledger.production(category)
    evaluation = _evaluation(services, candidate, manifest)
    incumbent = _incumbent(services, production, manifest) if production else None
    wanted = rules(services.params.gate)
    verdict = gate.judge(evaluation, wanted, incumbent)
    return Judgement(verdict, production, gate.as_json(wanted, evaluation, incumbent, verdict))


def rules(params: GateParams) -> gate.Rules:
    """Return params.yaml's rules as the gate takes them."""
    return gate.Rules(**params.model_dump(exclude={"second_person"}))


def require_usable(services: Services, bank: BankRecord) -> None:
    """Fetch a bank, its digests checked, and load its backbone: what cannot score does not go to production.

    Raises:
        Refused: it cannot.
    """
    fetch_bank(services, bank.category, bank.version, bank.sha256).prepare()


def _incumbent(services: Services, production: Production, manifest: Manifest) -> gate.Incumbent:
    """Measure the bank in production; that it is lost is a reason to look at, not an error that bars its successor."""
    try:
        bank = bank_record(services, production.category, production.version)
        return gate.Incumbent(production.version, _evaluation(services, bank, manifest))
    except Refused as error:
        return gate.Incumbent(production.version, str(error))


def _evaluation(services: Services, record: BankRecord, manifest: Manifest) -> gate.Evaluation:
    metrics = dict(record.metrics or {})
    if record.evaluation_sha256 != manifest.evaluation_sha256:
        bank = fetch_bank(services, record.category, record.version, record.sha256)
        store = FeatureStore(services.workspace.feature_store, bank.extractor, services.params.extract.store)
        evaluation = measure(bank, store, manifest, services.workspace, services.params)
        metrics |= metrics_of(report(evaluation, manifest, bank))
    defects = sum(entry.defective for entry in manifest.evaluation)
    return gate.Evaluation(
        metrics,
        normals=len(manifest.evaluation) - defects,
        defects=defects,
        masks=manifest.has_masks,
        evaluation_sha256=manifest.evaluation_sha256,
    )
