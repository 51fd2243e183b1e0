"""What ``--help`` shows of every command below its options: an example, and what each exit code means."""

from collections.abc import Iterator
from dataclasses import dataclass

import typer

_ALWAYS = {0: "done", 1: "a fault of the machine or a service", 2: "wrong use"}


@dataclass(frozen=True)
class Help:
    """The help of one command beside its options.

    Attributes:
        example: A command line that a person can adapt.
        refused: When the command ends with exit code 3.
    """

    example: str
    refused: str


COMMANDS = {
    "init": Help("patchcore init plant", "the folder cannot become a workspace"),
    "add": Help("patchcore add bottle downloads/bottle", "the category exists, or the folder has another layout"),
    "ingest": Help("patchcore ingest bottle new_images", "no category or no images of that name"),
    "retrain": Help("patchcore retrain bottle", "invalid images, or the gate refused the bank"),
    "promote": Help('patchcore promote bottle 3 --reason "line 2 accepted it"', "the gate refused the bank version"),
    "rollback": Help('patchcore rollback bottle --reason "false alarms"', "there is no version to go back to"),
    "score": Help("patchcore score bottle lot_4711 --batch 4711", "no bank in production, or the batch exists"),
    "override": Help(
        'patchcore override 4711 part_07.png --normal --reason "a reflection"', "no such batch, scoring or image"
    ),
    "withdraw": Help(
        'patchcore withdraw bottle 0012.png --reason "a scratch"', "no such normal image, or it was withdrawn before"
    ),
    "reconcile": Help("patchcore reconcile bottle", "no such category"),
    "migrate": Help("patchcore migrate", "a later version wrote the ledger"),
    "upgrade": Help("patchcore upgrade", "a later version made the workspace"),
    "serve": Help("patchcore serve", "no workspace, or invalid parameters"),
    "demo": Help("patchcore demo demo", "the folder has other files"),
    "audit batch": Help("patchcore audit batch 4711", "no such batch or scoring"),
    "audit dataset": Help("patchcore audit dataset bottle 2", "no such data-set version"),
    "audit image": Help("patchcore audit image lot_4711/part_07.png", "the image was never scored"),
    "audit normal": Help("patchcore audit normal data/bottle/train/good/0012.png", "no such normal image"),
    "audit bank": Help("patchcore audit bank bottle 3", "no such bank version"),
    "audit compare": Help("patchcore audit compare bottle 2 3", "no such bank version"),
    "audit at": Help("patchcore audit at bottle 2026-11-22T02:13", "no bank was in production at that time"),
    "audit history": Help("patchcore audit history bottle", "no such category"),
    "audit completeness": Help("patchcore audit completeness 4711 --folder lot_4711", "images are missing or changed"),
    "audit verify": Help("patchcore audit verify", "a record, anchor, export or bank is not what was recorded"),
    "audit export": Help("patchcore audit export evidence --batch 4711", "the folder exists, or no such batch"),
    "audit archive": Help("patchcore audit archive --before 2026-01-01", "the archive cannot be written"),
    "audit anchor": Help("patchcore audit anchor", "no workspace"),
    "audit replay": Help("patchcore audit replay 4711", "a result differs, or images are missing"),
    "audit explain": Help(
        "patchcore audit explain 4711 part_07.png --output why.png", "no such image, or its file is missing"
    ),
}


def epilog_of(command: str) -> str:
    """Return the text below the options of a command, such as ``audit batch``.

    Example:
        >>> print(epilog_of("audit batch"))
        Example: patchcore audit batch 4711
        <BLANKLINE>
        Exit codes: 0 done; 1 a fault of the machine or a service; 2 wrong use; 3 refused: no such batch or scoring
    """
    shown = COMMANDS[command]
    codes = "; ".join(f"{code} {meaning}" for code, meaning in _ALWAYS.items())
    return f"Example: {shown.example}\n\nExit codes: {codes}; 3 refused: {shown.refused}"


def add_epilogs(app: typer.Typer) -> None:
    """Give every command of an application, and of the groups in it, its epilog."""
    for name, command in _commands(app):
        command.epilog = epilog_of(name)


def _commands(app: typer.Typer, prefix: str = "") -> Iterator[tuple[str, typer.models.CommandInfo]]:
    for command in app.registered_commands:
        name = command.name or (command.callback.__name__ if command.callback else "")
        yield prefix + name, command
    for group in app.registered_groups:
        if group.typer_instance is not None:
            yield from _commands(group.typer_instance, f"{prefix}{group.name} ")
