"""The command line: `aggregator COMMAND`. A command's module is imported when it is called, not before."""

import importlib
import os
import sys

import click
from click.shell_completion import CompletionItem

from aggregator import __version__
from aggregator.daemon.printable import printable

COMMANDS = {
    "run": "Gather from the exchanges of a configuration until stopped.",
    "check": "Check a configuration without starting anything.",
    "init": "Print a configuration to start from.",
    "demo": "Simulated exchanges, a daemon on them, and their records on the screen.",
    "sandbox": "Serve exchanges on loopback, from captures or simulated, with faults.",
    "exchanges": "Every exchange that is known, and what became of it.",
    "symbols": "An exchange's instruments.",
    "tail": "Follow topics of a running daemon.",
    "book": "Order books of a running daemon, as ladders that move.",
    "token": "Make a token for clients of the feed.",
    "ctl": "Ask a running daemon how it fares, and have it change what it does.",
    "top": "Watch a daemon: exchanges, topics, sinks and clients.",
    "explain": "Why a topic is live, or is not, and what to do.",
    "tap": "The raw frames of a topic, beside the records that they became.",
    "cluster": "Who of several hosts owns which exchange, and why.",
    "doctor": "Whether this machine can do what a configuration asks of it.",
    "capture": "Gather as `run` does, and keep the raw frames too.",
    "replay": "A capture through the live code, to any sink.",
    "normalize": "Captured frames of one exchange as records.",
    "backfill": "Trades and candles of the past, into the same files.",
    "convert": "Files, captures and journals to Parquet.",
    "query": "SQL over recordings, of any kind of file.",
    "coverage": "Was a recording complete? What is missing, by day and topic.",
    "export": "Recordings for backtesters, with gaps where they are.",
    "schema": "What to tell programs that read records, or write a configuration, so that they guess nothing.",
    "completion": "Completion of words for bash, zsh and fish.",
    "docs": "Write the documentation that is made from the code.",
}
COMPLETES = "_AGGREGATOR_COMPLETE"  # click's name for it: in its presence the program completes, and does nothing else
EXIT_ERROR, EXIT_USAGE, EXIT_CONFIG = 1, 2, 78


class Commands(click.Group):
    """Commands by name, each in a module of its own."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - likewise
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(f"aggregator.cli.{cmd_name}").command
        return command if isinstance(command, click.Command) else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Do as click does, with `help [COMMAND]` and a suggestion for a misspelled command."""
        if args[0] == "help" and not ctx.resilient_parsing:
            args = [*args[1:2], "--help"]
            if len(args) == 1:
                click.echo(ctx.get_help())
                ctx.exit()
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            import difflib

            close = difflib.get_close_matches(args[0], COMMANDS, 1)
            if not close:
                raise
            raise click.UsageError(f"{error.message} Did you mean {close[0]!r}?", ctx) from None

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Do as click does, without importing the commands."""
        own = click.Command.shell_complete(self, ctx, incomplete)
        return [CompletionItem(name, help=COMMANDS[name]) for name in COMMANDS if name.startswith(incomplete)] + own

    def invoke(self, ctx: click.Context) -> object:
        """Do as click does, but end quietly on a closed pipe."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # text that is not yet flushed goes nowhere
            raise click.exceptions.Exit(0) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - likewise
        """The list of commands, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, "--version", "-V", prog_name="aggregator")
def group() -> None:
    """Public market data of every crypto exchange, as one stream that can be trusted.

    Data goes to standard output, everything else to standard error. Exit codes: 0, 1 error, 2 usage, 78 configuration.
    """


def main() -> None:
    """Run the command line, and leave with the right code."""
    if COMPLETES in os.environ:
        from aggregator.cli import completing  # noqa: F401 - click takes its shells
    try:
        sys.exit(
            group.main(standalone_mode=False, complete_var=COMPLETES)
        )  # click gives back the code that a command left with
    except click.Abort:
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)


def counted(count: int, noun: str) -> str:
    """A number with its noun: 1 sink, 2 sinks."""
    return f"{count} {noun if count == 1 else noun + 's'}"


def fail(text: str, code: int = EXIT_ERROR) -> "click.exceptions.Exit":
    """Say what is wrong on standard error; raise what this gives."""
    click.echo(f"aggregator: {printable(text)}", err=True)
    return click.exceptions.Exit(code)
