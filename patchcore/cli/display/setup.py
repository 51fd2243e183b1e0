"""What a person sees of setting up a workspace."""

from patchcore.cli.display.terminal import say, show_pairs
from patchcore.lifecycle.setup.results import Added, Initialised, Migrated, Upgraded


def initialised(value: Initialised) -> None:
    """Show where the workspace is."""
    say(f"workspace {value.workspace} is ready")


def added(value: Added) -> None:
    """Show a new category."""
    show_pairs(
        f"category {value.category}",
        [
            ("normal images", value.normals),
            ("evaluation images", value.evaluation_images),
            ("masks", value.masks),
            ("data-set version", value.dataset_version),
        ],
    )


def upgraded(value: Upgraded) -> None:
    """Show what an upgrade changed, or would change."""
    if not value.files and not value.schemas:
        say(f"workspace {value.workspace} is up to date")
        return
    for file in value.files:
        if file.action == "remove":
            say(f"remove {file.path}")
        for line in file.diff.splitlines():
            say(line)
    for change in value.schemas:
        say(f"tables of the {change.database}: revision {change.before} -> {change.after}")
    if value.dry_run:
        say("nothing was changed; carry it out with: patchcore upgrade")
    else:
        say(f"workspace {value.workspace} is up to date" + (f", commit {value.commit[:12]}" if value.commit else ""))


def migrated(value: Migrated) -> None:
    """Show the revision of the ledger's tables."""
    say(f"the ledger's tables are those of revision {value.revision}")
