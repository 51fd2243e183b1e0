"""The command line: every command of the README, each a few words that call a flow or a question."""

import gc
import io
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from patchcore.cli.commands.audit import audit_app
from patchcore.cli.commands.intake import ingest, serve, withdraw
from patchcore.cli.commands.production import promote, reconcile, retrain, rollback
from patchcore.cli.commands.score import override, score
from patchcore.cli.commands.setup import add, init, migrate, upgrade
from patchcore.cli.help import add_epilogs
from patchcore.cli.result import Outcome, end, finish
from patchcore.errors import UsageError

_IN_ORDER = (
    *("init", "add", "ingest", "retrain", "promote", "rollback", "score", "override", "audit", "serve"),
    *("withdraw", "reconcile", "upgrade", "migrate", "demo"),
)


class _Commands(TyperGroup):
    """The commands in the order in which a person needs them."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return their names, those without a place at the end."""
        return sorted(super().list_commands(ctx), key=lambda name: (*_IN_ORDER, name).index(name))


app = typer.Typer(
    name="patchcore",
    cls=_Commands,
    help="Memory banks for visual inspection: built from normal images, gated, promoted, scored with, and audited.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.add_typer(audit_app, name="audit")
for _command in (
    *(init, add, ingest, retrain, promote, rollback, reconcile),
    *(score, override, withdraw, upgrade, migrate, serve),
):
    app.command()(_command)


def main() -> None:
    """Run the command of this process's arguments and exit with its code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal may lack a character
            stream.reconfigure(errors="backslashreplace")
    # Imports take most of the time of a command. They make hundreds of thousands of objects that stay; to search these
    # for garbage repeatedly would cost a second.
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
        return end(_misunderstood(error, error.format_message()), as_json="--json" in arguments)
    return int(code or 0)


def _misunderstood(error: Any, message: str) -> UsageError:
    """Return what was wrong with a command line; a missing command has no message, for its help has been printed."""
    context = getattr(error, "ctx", None)
    path = context.command_path if context else "patchcore"
    of_group = context is None or hasattr(context.command, "list_commands")
    expected = f"{'a command' if of_group else 'the arguments and options'} of {path}"
    got = message.strip().rstrip(".") or "no command"
    return UsageError("the command cannot be understood", got, expected, f"see {path} --help")


def _print_version(wanted: bool) -> None:
    if wanted:
        from patchcore.adapters.versioning.repository import code_version

        typer.echo(f"patchcore {code_version()}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[  # its callback prints it
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Take the options that stand before a command."""


@app.command()
def demo(
    folder: Annotated[Path, typer.Argument(help="Where to; what an earlier demo left there is replaced.")],
) -> int:
    """Live through a bank's first weeks on real images of solar cells."""

    def work() -> Outcome[dict[str, Any]]:
        from patchcore.cli.demo.story import play

        play(folder, run)
        return Outcome()

    return finish(work, as_json=False, show=lambda _: None)


add_epilogs(app)
