"""The judgement of a bank version by the gate, against the bank in production, on the present evaluation set."""

from dataclasses import dataclass

from patchcore.adapters.ledger.records import BankRecord, Production
from patchcore.bank.memory_bank import MemoryBank
from patchcore.config.params import GateParams
from patchcore.dataset.manifest import Manifest, scan
from patchcore.errors import Refused
from patchcore.evaluation import gate
from patchcore.evaluation.gate import Verdict
from patchcore.evaluation.verdict_record import VerdictRecord, verdict_record
from patchcore.extraction.store import FeatureStore
from patchcore.lifecycle.bank_cache import bank_record, fetch_bank
from patchcore.lifecycle.services import Services
from patchcore.steps.evaluate import measure, metrics_of, report


@dataclass(frozen=True)
class Judgement:
    """A verdict, which holds as long as production does not change.

    Attributes:
        verdict: The verdict.
        production: What was in production when the bank was judged; None before the first promotion.
        record: The verdict with everything that it follows from.
        bank: The candidate, if it was loaded to be measured again.
    """

    verdict: Verdict
    production: Production | None
    record: VerdictRecord
    bank: MemoryBank | None = None


def judge(services: Services, category: str, candidate: BankRecord) -> Judgement:
    """Judge a bank version by the gate, against the bank in production, on the present evaluation set.

    The metrics are those that the ledger recorded when the bank was registered, not those in MLflow, which people can
    edit. A bank that was measured on another evaluation set is measured again.

    Raises:
        InvalidBank: The candidate has to be measured again, and is damaged.
        Refused: The evaluation set has one class only.
    """
    manifest = scan(services.workspace, category, services.digests)
    production = services.ledger.production(category)
    evaluation, bank = _evaluation(services, candidate, manifest)
    incumbent = _incumbent(services, production, manifest) if production else None
    rules = gate_rules(services.params.gate)
    verdict = gate.judge(evaluation, rules, incumbent)
    return Judgement(verdict, production, verdict_record(rules, evaluation, incumbent, verdict), bank)


def gate_rules(params: GateParams) -> gate.Rules:
    """Return the rules of the gate in params.yaml."""
    return gate.Rules(
        image_auroc_at_least=params.image_auroc_at_least,
        pixel_auroc_at_least=params.pixel_auroc_at_least,
        aupro_at_least=params.aupro_at_least,
        normals_at_least=params.normals_at_least,
        defects_at_least=params.defects_at_least,
        image_auroc_drop_at_most=params.image_auroc_drop_at_most,
        pixel_auroc_drop_at_most=params.pixel_auroc_drop_at_most,
        aupro_drop_at_most=params.aupro_drop_at_most,
    )


def check_usable(services: Services, record: BankRecord, bank: MemoryBank | None = None) -> None:
    """Check that a bank can score here: fetch it, check its digests, and load its backbone.

    Args:
        services: The opened workspace.
        record: The ledger's record of the bank.
        bank: The bank, if it is loaded already.

    Raises:
        InvalidBank: It is damaged, or not the bank in the ledger.
        InvalidWeights: The weights of its backbone are missing.
        RuntimeNotAllowed: No runtime on this machine may score with it.
    """
    (bank or fetch_bank(services, record.category, record.version, record.sha256)).prepare()


def _incumbent(services: Services, production: Production, manifest: Manifest) -> gate.Incumbent:
    """Measure the bank in production; if it is lost, the verdict says so and a person can force its successor."""
    try:
        bank = bank_record(services, production.category, production.version)
        return gate.Incumbent(production.version, _evaluation(services, bank, manifest)[0])
    except Refused as error:
        return gate.Incumbent(production.version, str(error))


def _evaluation(
    services: Services, record: BankRecord, manifest: Manifest
) -> tuple[gate.Evaluation, MemoryBank | None]:
    """Return what was measured of a bank on the present evaluation set, and the bank if that had to be done now."""
    metrics, bank = dict(record.metrics or {}), None
    if record.evaluation_sha256 != manifest.evaluation_sha256:
        bank = fetch_bank(services, record.category, record.version, record.sha256)
        store = FeatureStore(services.workspace.feature_store, bank.extractor, services.params.extract.store)
        measured = measure(bank, store, manifest, services.workspace, services.params)
        metrics |= metrics_of(report(measured, manifest, bank))
    defects = sum(entry.defective for entry in manifest.evaluation)
    evaluation = gate.Evaluation(
        metrics,
        normals=len(manifest.evaluation) - defects,
        defects=defects,
        masks=manifest.has_masks,
        evaluation_sha256=manifest.evaluation_sha256,
    )
    return evaluation, bank
