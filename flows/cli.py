"""The command line: every command of the README, each a few words that call a flow or a question."""

import gc
import io
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from flows.commands import promotion as cli_promotion
from flows.commands.audit import audit_app
from flows.commands.evidence import migrate
from flows.commands.options import Category, Json, Place, place_of, place_with_prefect
from flows.commands.withdraw import withdraw
from flows.display import lifecycle as display
from flows.display import scoring as display_scoring
from flows.outcome import Outcome, finish
from patchcore.errors import UsageError

app = typer.Typer(
    name="patchcore",
    help="Memory banks for visual inspection: built from normal images, gated, promoted, scored with, and audited.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(audit_app, name="audit")
app.command()(migrate)
app.command()(withdraw)


def main() -> None:
    """Run the command of this process's arguments and exit with its code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal that lacks a letter is no reason to fail
            stream.reconfigure(errors="backslashreplace")
    # Most of a command is imports, which make hundreds of thousands of objects that stay: to look through them for
    # garbage again and again, and once more at the end, would cost a second.
    gc.set_threshold(50_000, 50, 50)
    code = run(sys.argv[1:])
    gc.freeze()
    sys.exit(code)


def run(arguments: list[str]) -> int:
    """Run a command and return its exit code: 0 done, 1 a fault, 2 usage, 3 refused."""
    command = typer.main.get_command(app)
    try:
        code = command.main(arguments, prog_name="patchcore", standalone_mode=False)
    except Exception as error:
        if not hasattr(error, "format_message"):  # typer brings click's errors in modules of its own
            raise
        # Without a command the help has been printed, and the error has no message.
        got = error.format_message() or "no command"
        words = UsageError("the command cannot be understood", got, "a command of patchcore", "see patchcore --help")
        print(f"error: {words}", file=sys.stderr)  # noqa: T201
        return words.exit_code
    return int(code or 0)


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="The folder; it is made if it does not exist.")], json: Json = False
) -> int:
    """Make a folder a workspace: git, DVC, params.yaml and dvc.yaml."""

    def work() -> Outcome:
        from patchcore.lifecycle.workspace import init as make

        return Outcome({"workspace": str(make(folder).root)})

    return finish(work, as_json=json, show=display.one_line(lambda value: f"workspace {value['workspace']} is ready"))


@app.command()
def add(
    category: Category,
    folder: Annotated[Path, typer.Argument(help="A folder in MVTec layout: train/good, test/*, ground_truth/*.")],
    json: Json = False,
    workspace: Place = None,
) -> int:
    """Take a folder in MVTec layout as a new category."""

    def work() -> Outcome:
        from patchcore.lifecycle.production.registration import record_dataset
        from patchcore.lifecycle.services import open_services
        from patchcore.lifecycle.workspace import add as take_in

        services = open_services(place_of(workspace).root)
        with services.alone():
            taken = asdict(take_in(services.workspace, category, folder))
            dataset = record_dataset(services, category)
            if services.params.versioning.push:
                services.versioning.push()
        return Outcome({**taken, "dataset_version": dataset.number, "dataset_sha256": dataset.sha256})

    return finish(work, as_json=json, show=display.added)


@app.command()
def ingest(
    category: Category,
    folder: Annotated[Path | None, typer.Argument(help="New normal images; else the drop folder.")] = None,
    json: Json = False,
    workspace: Place = None,
) -> int:
    """Take new normal images: the good ones become a new data-set version, the others go to quarantine."""

    def work() -> Outcome:
        place = place_with_prefect(workspace)
        from flows.ingest import ingest as flow

        return Outcome(flow(str(place.root), category, str(folder.resolve()) if folder else None))

    return finish(work, as_json=json, show=display.ingested)


@app.command()
def retrain(
    category: Category,
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Build the bank from nothing; do not grow it.")] = False,
    json: Json = False,
    workspace: Place = None,
) -> int:
    """Validate, extract, build, evaluate, register, and promote what passes the gate."""

    def work() -> Outcome:
        place = place_with_prefect(workspace)
        from flows.retrain import retrain as flow

        return cli_promotion.gated(flow(str(place.root), category, rebuild=rebuild))

    return finish(work, as_json=json, show=display.retrained)


for _command in (cli_promotion.promote, cli_promotion.rollback, cli_promotion.reconcile):
    app.command()(_command)


@app.command()
def score(
    category: Category,
    folder: Annotated[Path, typer.Argument(help="The images of the batch.")],
    batch: Annotated[str, typer.Option(help="The batch's name; it is given once.")],
    rescore: Annotated[
        bool, typer.Option("--rescore", help="Score a batch once more, beside what is recorded.")
    ] = False,
    reason: Annotated[str | None, typer.Option(help="Why it is scored once more; the ledger keeps it.")] = None,
    json: Json = False,
    workspace: Place = None,
) -> int:
    """Score a batch with the bank in production, and write the ledger."""

    def work() -> Outcome:
        again = _reason_of_rescore(reason, rescore=rescore)
        place = place_with_prefect(workspace)
        from flows.score import score as flow

        return Outcome(flow(str(place.root), category, str(folder.resolve()), batch, again))

    return finish(work, as_json=json, show=display_scoring.scored)


@app.command()
def override(
    batch: Annotated[str, typer.Argument(help="The batch's name.")],
    image: Annotated[str, typer.Argument(help="The image: its path as recorded, its file name, or its sha256.")],
    anomalous: Annotated[bool, typer.Option("--anomalous/--normal", help="What the image is.")],
    reason: Annotated[str, typer.Option(help="Why; the ledger keeps it.")],
    json: Json = False,
    workspace: Place = None,
) -> int:
    """Record that a person decides otherwise about an image; what the bank said stays recorded too."""

    def work() -> Outcome:
        from patchcore.lifecycle.evidence.anchoring import anchor_and_tell
        from patchcore.lifecycle.scoring.overrides import override as decide
        from patchcore.lifecycle.services import open_services

        services = open_services(place_of(workspace).root)
        decided = decide(services, batch, image, anomalous=anomalous, reason=reason)
        return Outcome({**decided, "anchored": anchor_and_tell(services, git=False)})

    return finish(work, as_json=json, show=display_scoring.overridden)


@app.command()
def serve(workspace: Place = None) -> int:
    """Serve every flow, each with its schedule from params.yaml, until interrupted."""

    def work() -> Outcome:
        place = place_with_prefect(workspace)
        from flows.deploy import serve as serve_flows

        serve_flows(str(place.root))
        return Outcome()

    return finish(work, as_json=False, show=lambda _: None)


@app.command()
def demo(
    folder: Annotated[Path, typer.Argument(help="Where to; what an earlier demo left there is replaced.")],
) -> int:
    """Live through a bank's first weeks on real images of solar cells."""

    def work() -> Outcome:
        from flows.demo import play

        play(folder, run)
        return Outcome()

    return finish(work, as_json=False, show=lambda _: None)


def _reason_of_rescore(reason: str | None, *, rescore: bool) -> str | None:
    """Return why a batch is scored again, None where it is not.

    Raises:
        UsageError: one was given without the other.
    """
    if rescore == bool(reason and reason.strip()):
        return reason.strip() if reason else None
    got = "--rescore without a reason" if rescore else "--reason without --rescore"
    raise UsageError(
        "a batch is scored again for a reason", got=got, expected="both or neither", remedy="add the other"
    )
