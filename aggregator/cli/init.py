"""`aggregator init`."""

import json
import tempfile
from collections.abc import Sequence
from importlib import resources
from pathlib import Path

import click
from msgspec import Struct

from aggregator.cli import EXIT_CONFIG, completing, fail

EXAMPLES = ("live", "service", "relay", "full")
USUAL = ("trades", "book")  # channels that are written where none is named, as far as an exchange offers them


class Answers(Struct, frozen=True):
    """Answers of somebody who wants a configuration; no channels: the usual ones."""

    exchanges: Sequence[str]
    symbols: Sequence[str]
    channels: Sequence[str]
    files: str
    feed: str


def example(name: str) -> str:
    """The text of a configuration that comes with the program."""
    return (resources.files("aggregator") / "data/examples" / f"{name}.toml").read_text("utf-8")


@click.command(name="init")
@click.option(
    "--example",
    "name",
    type=click.Choice(EXAMPLES),
    help="For a try here (live, the default), for the systemd service, to pass on what another daemon gathers "
    "(relay), or with every key (full).",
)
@click.option(
    "--exchange",
    "exchanges",
    multiple=True,
    shell_complete=completing.exchanges,
    help="An exchange to gather from, by its id; as often as wanted.",
)
@click.option("--symbol", "symbols", multiple=True, help="A symbol or pattern to follow there; BTC/* unless named.")
@click.option(
    "--channel",
    "channels",
    multiple=True,
    shell_complete=completing.channels,
    help="A channel; trades and book unless named.",
)
@click.option("--files", default="data", show_default=True, help="The directory for files of records.")
@click.option("--feed", default="unix:feed.sock", show_default=True, help="Where subscribers connect.")
@click.option("--ask", is_flag=True, help="Ask for all of that.")
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="A new file; else standard output.")
def command(
    name: str | None,
    exchanges: tuple[str, ...],
    symbols: tuple[str, ...],
    channels: tuple[str, ...],
    files: str,
    feed: str,
    ask: bool,
    out: Path | None,
) -> None:
    """Print a configuration to start from, or write it to a new file.

    It is one of the examples, or made of what is named (--exchange) or answered (--ask).
    """
    if name is not None and (exchanges or ask):
        raise click.UsageError("either an example, or what --exchange and --ask say")
    if (symbols or channels) and not (exchanges or ask):
        raise click.UsageError("name an --exchange, or --ask")
    answers = Answers(exchanges, symbols or ("BTC/*",), channels, files, feed)
    if ask:
        answers = _asked(answers)
    text = made(answers) if ask or answers.exchanges else example(name or "live")
    if out is None:
        click.echo(text, nl=False)
        return
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with out.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise fail(f"{out} exists already; nothing was written") from None
    except OSError as error:
        raise fail(f"{out}: {error.strerror}") from None
    click.echo(f"{out} written; next: aggregator check {out}", err=True)


def _asked(usual: Answers) -> Answers:
    """The answers of a person; what is left empty is as usual."""

    def several(question: str, default: Sequence[str]) -> list[str]:
        said = click.prompt(question, default=" ".join(default), show_default=bool(default), err=True)
        return str(said).replace(",", " ").split()

    return Answers(
        several("exchanges (`aggregator exchanges` lists them)", usual.exchanges),
        several("symbols or patterns", usual.symbols),
        several("channels", usual.channels or USUAL),
        click.prompt("directory for files", default=usual.files, err=True),
        click.prompt("where subscribers connect", default=usual.feed, err=True),
    )


def made(answers: Answers) -> str:
    """A configuration with comments. What is wrong with the answers is said, and ends the program with 78."""
    from aggregator.catalog.registry import known_channels, known_keys
    from aggregator.config.config import ConfigErrors, load_config

    parts = [HEAD]
    for id in dict.fromkeys(answers.exchanges):
        offered = known_channels(id) or ()
        channels = list(answers.channels) or [one for one in USUAL if one in offered] or list(USUAL)
        parts.append(EXCHANGE.format(id=_text(id), channels=_texts(channels), symbols=_texts(answers.symbols)))
    parts.append(OUTLETS.format(path=_text(answers.files), feed=_text(answers.feed)))
    text = "\n".join(parts)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "made.toml")
        path.write_text(text, encoding="utf-8")
        try:
            load_config(path, known_channels=known_channels, known_keys=known_keys)
        except ConfigErrors as errors:
            said = "\n".join(f"{problem.key}: {problem.text}" for problem in errors.problems)
            raise fail(said, EXIT_CONFIG) from None
    return text


def _text(value: str) -> str:
    return json.dumps(value)


def _texts(values: Sequence[str]) -> str:
    return f"[{', '.join(map(_text, values))}]"


HEAD = """\
# Made by `aggregator init`. `aggregator init --example full` explains every key.
#   aggregator check FILE     names every mistake at once and starts nothing
#   aggregator run FILE       gathers until it is stopped

version = 1
"""
EXCHANGE = """\
[[exchanges]]
id = {id}
# Of each market, those that the exchange offers: trades, book, bbo, ticker, candles, funding and others.
channels = {channels}
# Unified symbols like "BTC/USDT", the exchange's own names, or patterns with *.
symbols = {symbols}
"""
OUTLETS = """\
# Files of records, closed each hour and compressed. Nothing is deleted unless `keep = "30d"` or such says so.
[[sinks]]
type = "files"
path = {path}

# Where subscribers connect: `aggregator tail` and programs of yours.
[feed]
listen = [{feed}]
"""
