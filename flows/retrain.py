"""The flow behind `patchcore retrain`: validate, extract, build, evaluate, register, gate, promote."""

import sys
from datetime import UTC, datetime
from typing import Any

from prefect import flow, runtime, task
from prefect.cache_policies import NO_CACHE

from flows.anchor import anchor_ledger
from flows.artifacts import leave_markdown, leave_table
from flows.gate import judge_and_promote, reconcile
from flows.ingest import ingest, push
from flows.publish import publish, publish_failure
from flows.retries import unless_refused
from patchcore._util.files import read_json
from patchcore.adapters.ledger.records import Event
from patchcore.config.pipeline import check_pipeline
from patchcore.lifecycle import events
from patchcore.lifecycle.bank_cache import bank_record
from patchcore.lifecycle.dataset_records import note_arrivals
from patchcore.lifecycle.git_commits import commit_reports
from patchcore.lifecycle.intake.retrain_trigger import due_work
from patchcore.lifecycle.pages import validation_page
from patchcore.lifecycle.production import registration
from patchcore.lifecycle.production.registration import RegisteredBank
from patchcore.lifecycle.production.results import GateOutcome, RetrainResult, RetrainSkipped, recorded_gate_result
from patchcore.lifecycle.regate_policy import banks_to_be_judged
from patchcore.lifecycle.services import Services, open_services, services_of
from patchcore.steps.fingerprint import write_fingerprints


@flow(name="retrain", flow_run_name="retrain-{category}", validate_parameters=False)
def retrain(workspace: str, category: str, drop: bool = False, rebuild: bool = False) -> RetrainResult | RetrainSkipped:
    """Build a bank from a category's present normal images, and promote it if it passes the gate.

    Args:
        workspace: The workspace's folder.
        category: The kind of part.
        drop: Automatic start: take the images of the drop folder first, and return `RetrainSkipped` if params.yaml
            says that there is nothing to do.
        rebuild: Build the bank from nothing instead of growing the one before.

    Raises:
        UnknownCategory: params.yaml does not list the category.
        InvalidImages: The images are not valid.
        Fault: A service does not answer.
    """
    with services_of(workspace) as services:
        services.params.require(category)
        try:
            if drop:
                due = due_work(services, category, datetime.now(UTC))
                leave_markdown("schedule", category, f"# {category}: {due.work}\n\n{due.reason}\n")
                if due.work == "nothing":
                    return RetrainSkipped(category=category, reason=due.reason)
                rebuild = rebuild or due.work == "rebuild"
            check_services(workspace)
            if drop:
                ingest(workspace, category, settle=services.params.schedule.settle_seconds)
            registered, done, recorded = bring_up_to_date(services, category, rebuild=rebuild)
        except Exception as error:
            publish_failure(services, category, error)
            raise
        # From here on the retrain is done and recorded: an error does not turn it into a failed retrain.
        publish(workspace, category, *recorded)
        bank = registered.bank
        return RetrainResult(
            category=category,
            dataset_version=bank.dataset_version,
            dataset_sha256=bank.dataset_sha256,
            bank_version=bank.version,
            bank_sha256=bank.sha256,
            run_id=bank.run_id,
            metrics=dict(registered.metrics) if done.metrics is None else done.metrics,
            threshold=registered.threshold,
            new=registered.new,
            gate=done.gate,
            promoted=done.promoted,
            production=done.production,
            proposed=done.proposed,
            forced=done.forced,
            decision=done.decision,
            proposal=done.proposal,
            reconciled=done.reconciled,
            anchored=anchor_ledger(workspace),
        )


def bring_up_to_date(
    services: Services, category: str, *, rebuild: bool
) -> tuple[RegisteredBank, GateOutcome, list[Event | None]]:
    """Build, register and decide, while no other command changes the workspace.

    Returns:
        The bank version; what the gate decided; and the events that were recorded: images that arrived without an
        ingest, if there were any, and the retrain, if it decided anything.

    Raises:
        InvalidImages: The images are not valid.
        Fault: A service does not answer.
    """
    workspace = str(services.workspace.root)
    with services.alone():
        check_pipeline(services.workspace)
        note_arrivals(services, category, rebuild=rebuild)
        write_fingerprints(services.workspace, services.params)
        for place, stage in enumerate(services.versioning.stages_to_run(category)):
            run_stage.with_options(task_run_name=stage)(workspace, category, stage, alone=place > 0)
        commit(workspace, category)
        push(workspace)
        registered = register(workspace, category)
        came = record_images(workspace, category, registered.bank.dataset_version)
        done = decide(workspace, category, registered.bank.version)
        event = events.record_retrain(
            services, registered.bank, passed=done.gate.passed, reasons=done.gate.reasons, rebuilt=rebuild
        )
        return registered, done, [came, event]


@task(
    task_run_name="check registry and ledger",
    retries=2,
    retry_delay_seconds=2,
    retry_condition_fn=unless_refused,
    cache_policy=NO_CACHE,
)
def check_services(workspace: str) -> None:
    """Check that MLflow and the ledger answer, before work begins that would be lost without them."""
    services = open_services(workspace)
    services.registry.check()
    services.ledger.check()


@task(cache_policy=NO_CACHE)
def run_stage(workspace: str, category: str, stage: str, alone: bool = False) -> bool:
    """Bring one DVC stage up to date, and those before it unless ``alone``; return whether it had to run."""
    services = open_services(workspace)
    report = services.workspace.validation(category)
    try:
        return services.versioning.reproduce(stage, alone=alone)
    finally:
        if stage.startswith("validate@") and report.is_file():
            _leave_validation(category, read_json(report))


@task(task_run_name="commit the reports of {category}", cache_policy=NO_CACHE)
def commit(workspace: str, category: str) -> str | None:
    """Commit dvc.lock, the reports and the pointers to git."""
    return commit_reports(open_services(workspace), category)


@task(
    task_run_name="register the bank of {category}",
    retries=2,
    retry_delay_seconds=5,
    retry_condition_fn=unless_refused,
    cache_policy=NO_CACHE,
)
def register(workspace: str, category: str) -> RegisteredBank:
    """Register the bank in MLflow and in the ledger; the same bank keeps its version."""
    tags = {"prefect_flow_run_id": str(runtime.flow_run.id or "")}
    return registration.register(open_services(workspace), category, tags=tags)


@task(task_run_name="record what images {category} has", cache_policy=NO_CACHE)
def record_images(workspace: str, category: str, number: int) -> Event | None:
    """Record the data-set version of the bank as the present one: a person may have changed or restored images."""
    services = open_services(workspace)
    dataset = services.ledger.dataset(category, number)
    return events.record_ingest(services, category, dataset, waiting=0) if dataset else None


@task(task_run_name="gate and promote {category} version {version}", cache_policy=NO_CACHE)
def decide(workspace: str, category: str, version: int, reason: str = "retrained") -> GateOutcome:
    """Judge a bank version and carry the verdict out; skip a version that must not be judged again."""
    services = open_services(workspace)
    bank = bank_record(services, category, version)
    if not banks_to_be_judged(services, category, [bank]):
        return _leave(services, category, version)
    if services.ledger.decisions_for(category, version):
        reason += ": its images are the present ones again"
    return judge_and_promote(services, category, bank, reason)


def _leave(services: Services, category: str, version: int) -> GateOutcome:
    """Return what was decided about a bank version before."""
    reconciled = reconcile(services, category)
    earlier = services.ledger.decisions_for(category, version)
    last = next((entry for entry in reversed(earlier) if entry.verdict), earlier[-1])
    production = services.ledger.production(category)
    if production is None or production.version != version:
        words = f"bank version {version} of {category} was judged before and stays out of production"
        sys.stderr.write(f"{words}; to judge it again: patchcore promote {category} {version} --reason TEXT\n")
    return GateOutcome(
        gate=recorded_gate_result(last.verdict),
        metrics=None,
        promoted=False,
        production=production.version if production else None,
        production_since=production.since if production else None,
        proposed=False,
        forced=last.forced,
        decision=None,
        proposal=None,
        reconciled=tuple(reconciled),
    )


def _leave_validation(category: str, report: dict[str, Any]) -> None:
    leave_markdown("validation", category, validation_page(category, report))
    offending = [{"file": path, "check": check["name"]} for check in report["checks"] for path in check["offending"]]
    if offending:
        leave_table("offending-images", category, offending, "files that failed a check")
