"""The commands that set up a workspace: `patchcore init, add, upgrade, migrate`."""

from pathlib import Path
from typing import Annotated

import typer

from patchcore.cli.commands.options import Category, Json, Place, opened, place_of
from patchcore.cli.display import setup as display
from patchcore.cli.result import Outcome, finish
from patchcore.lifecycle.setup.results import Added, Initialised, Migrated, Upgraded


def init(
    folder: Annotated[Path, typer.Argument(help="The folder; it is made if it does not exist.")], json: Json = False
) -> int:
    """Make a folder a workspace: git, DVC, params.yaml and dvc.yaml."""

    def work() -> Outcome[Initialised]:
        from patchcore.lifecycle.setup.create import init as make

        return Outcome(Initialised(workspace=str(make(folder).root)))

    return finish(work, as_json=json, show=display.initialised)


def add(
    category: Category,
    folder: Annotated[Path, typer.Argument(help="A folder in MVTec layout: train/good, test/*, ground_truth/*.")],
    json: Json = False,
    workspace: Place = None,
) -> int:
    """Take a folder in MVTec layout as a new category."""

    def work() -> Outcome[Added]:
        from patchcore.lifecycle.setup.add import add as take

        with opened(workspace) as services:
            return Outcome(take(services, category, folder))

    return finish(work, as_json=json, show=display.added)


def upgrade(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would change, and change nothing.")] = False,
    json: Json = False,
    workspace: Place = None,
) -> int:
    """Bring a workspace that an earlier version made up to date, and show what changes.

    dvc.yaml gets the stages of this version; your own stages stay. params.yaml gets the parameters that it lacks, at
    their defaults; your values stay. The link `patchcore` of version 0.1.0 and its line in .gitignore go. The tables of
    the ledger and of MLflow get the revision of this version. The changed files are committed to git where params.yaml
    says so.

    Banks, images and records do not change. The next retrain runs every stage once, because each stage gets a new
    dependency. A second run of this command changes nothing.
    """

    def work() -> Outcome[Upgraded]:
        place = place_of(workspace)
        from patchcore.lifecycle.setup.upgrade import upgrade as bring_up_to_date

        return Outcome(bring_up_to_date(place, dry_run=dry_run))

    return finish(work, as_json=json, show=display.upgraded)


def migrate(json: Json = False, workspace: Place = None) -> int:
    """Bring the ledger's tables to the revision of this version; make them where there are none.

    `patchcore upgrade` does this too. Use this command where the ledger is on a server, with the address of its owner
    in PATCHCORE_LEDGER_URL.
    """

    def work() -> Outcome[Migrated]:
        from patchcore.adapters.ledger import ledger_url
        from patchcore.adapters.ledger import migrate as bring_up_to_date

        return Outcome(Migrated(revision=bring_up_to_date(ledger_url(place_of(workspace)))))

    return finish(work, as_json=json, show=display.migrated)
