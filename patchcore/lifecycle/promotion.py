"""Which bank is in production: judged by the gate, decided in the ledger, followed by the registry's alias."""

from dataclasses import dataclass

from patchcore import gates
from patchcore.adapters.ledger_records import Decision, Production
from patchcore.adapters.registry import BankVersion
from patchcore.errors import Refused
from patchcore.feature_store import FeatureStore
from patchcore.gates import Verdict
from patchcore.lifecycle.bank_cache import fetch_bank
from patchcore.lifecycle.services import Services, who
from patchcore.manifest import Manifest, scan
from patchcore.params import GateParams
from patchcore.steps.evaluate import measure, metrics_of, report


@dataclass(frozen=True)
class Promotion:
    """How a bank version fared.

    Attributes:
        version: the bank version that was judged.
        verdict: of the gate.
        decision: the ledger's record; None where the version was in production already.
        production: what is in production now; None where nothing is yet.
    """

    version: BankVersion
    verdict: Verdict
    decision: Decision | None
    production: Production | None

    @property
    def promoted(self) -> bool:
        """Whether this brought the version to production."""
        return self.decision is not None and self.decision.action == "promote"


@dataclass(frozen=True)
class Judgement:
    """A verdict, and what was in production when it was reached: it holds for as long as that is."""

    verdict: Verdict
    production: Production | None


def judge(services: Services, category: str, candidate: BankVersion) -> Judgement:
    """Judge a bank version by the gate, beside the one in production, on the present evaluation set.

    A bank that was measured on another evaluation set is measured again first, for figures of different sets cannot
    be compared.

    Raises:
        Refused: a bank is damaged, or the evaluation set has one class only.
    """
    manifest = scan(services.workspace, category)
    production = services.ledger.production(category)
    incumbent = None
    if production and production.version != candidate.version:
        bank = services.registry.version(category, production.version)
        incumbent = gates.Incumbent(bank.version, _evaluation(services, bank, manifest))
    evaluation = _evaluation(services, candidate, manifest)
    return Judgement(gates.judge(evaluation, rules(services.params.gate), incumbent), production)


def promote(
    services: Services, category: str, candidate: BankVersion, judgement: Judgement, *, reason: str
) -> Promotion:
    """Carry out a judgement: the ledger first, compare-and-set; then the registry's alias.

    Raises:
        Refused: production is not what it was when the judgement was reached, or the bank cannot be used.
        Fault: the ledger or the registry does not answer.
    """
    verdict, before = judgement.verdict, judgement.production
    if before and before.version == candidate.version:
        reconcile(services, category)
        return Promotion(candidate, verdict, None, before)
    if verdict.passed:
        _require_usable(services, candidate)
    decision = services.ledger.decide(
        category,
        action="promote" if verdict.passed else "refuse",
        to_version=candidate.version,
        bank_sha256=candidate.bank_sha256,
        reason=reason,
        forced=False,
        verdict={"passed": verdict.passed, "reasons": list(verdict.reasons), "metrics": dict(candidate.metrics)},
        who=who(),
        expected=before.decision if before else None,
    )
    reconcile(services, category)
    return Promotion(candidate, verdict, decision, services.ledger.production(category))


def rollback(services: Services, category: str, *, reason: str, to: int | None = None) -> Decision:
    """Bring back the version that was in production before, or the one that is named.

    Raises:
        Refused: nothing was in production before, or the version named never was.
    """
    earlier = _earlier_versions(services, category)
    version = to if to is not None else next(iter(earlier), None)
    if version is None or version not in earlier:
        raise Refused(
            f"{category} cannot go back",
            got="no version named" if version is None else f"version {version}",
            expected=f"one that was in production before: {', '.join(map(str, earlier)) or 'there is none'}",
            remedy=f"name one of these with --to, or run: patchcore promote {category} VERSION",
        )
    current = services.ledger.production(category)
    bank = services.registry.version(category, version)
    _require_usable(services, bank)
    decision = services.ledger.decide(
        category,
        action="rollback",
        to_version=version,
        bank_sha256=bank.bank_sha256,
        reason=reason,
        forced=False,
        verdict={},
        who=who(),
        expected=current.decision if current else None,
    )
    reconcile(services, category)
    return decision


def reconcile(services: Services, category: str) -> str | None:
    """Let the registry's alias say what the ledger says; return a line about it where it did not.

    Raises:
        Fault: the registry does not answer.
    """
    production = services.ledger.production(category)
    alias = services.registry.alias(category)
    if production is None or alias == production.version:
        return None
    services.registry.set_alias(category, production.version)
    was = "nothing" if alias is None else f"version {alias}"
    return (
        f"the alias production of {category} named {was}; it follows the ledger to version {production.version} again"
    )


def rules(params: GateParams) -> gates.Rules:
    """Return params.yaml's rules as the gate takes them."""
    return gates.Rules(**params.model_dump())


def _require_usable(services: Services, version: BankVersion) -> None:
    """Fetch a bank, its digests checked, and load its backbone: what cannot score does not go to production."""
    fetch_bank(services, version.category, version.version, version.bank_sha256).prepare()


def _evaluation(services: Services, version: BankVersion, manifest: Manifest) -> gates.Evaluation:
    metrics, measured_on = dict(version.metrics), version.evaluation_sha256
    if measured_on != manifest.evaluation_sha256:
        bank = fetch_bank(services, manifest.category, version.version, version.bank_sha256)
        store = FeatureStore(services.workspace.feature_store, bank.extractor, services.params.extract.store)
        evaluation = measure(bank, store, manifest, services.workspace, services.params)
        metrics |= metrics_of(report(evaluation, manifest, bank))
        measured_on = manifest.evaluation_sha256
    return gates.Evaluation(metrics, int(metrics.get("normals") or 0), int(metrics.get("defects") or 0), measured_on)


def _earlier_versions(services: Services, category: str) -> list[int]:
    """Return what going back leads to, the nearest first: a promotion goes one up, a rollback comes down again."""
    ladder: list[int] = []
    for decision in services.ledger.history(category):
        if decision.action == "rollback" and decision.to_version in ladder:
            del ladder[ladder.index(decision.to_version) + 1 :]
        elif decision.action != "refuse":
            ladder.append(decision.to_version)
    return [version for version in dict.fromkeys(ladder[-2::-1]) if version != ladder[-1]]
