"""`aggregator backfill`."""

import asyncio
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click
from msgspec import structs

from aggregator.cli import EXIT_USAGE, counted, fail
from aggregator.cli.completing import exchanges
from aggregator.cli.symbols import access, config_option, endpoint_option, from_exchange
from aggregator.daemon.printable import printable
from aggregator.errors import AggregatorError, nearest
from aggregator.exchange import Exchange
from aggregator.ingest.credentials import KeyPlace
from aggregator.records import DAY_S, SECOND_NS, Instrument

if TYPE_CHECKING:
    from aggregator.backfill.files import Job
    from aggregator.backfill.running import Filled

EARLIEST = "2009-01-03"  # the first block of the first chain: nothing was traded before
STAGED = ".backfill/ndjson"  # where the lines wait that become Parquet


def _moment(text: str, option: str) -> int:
    from aggregator.research.times import BadMoment, nanoseconds

    try:
        return nanoseconds(int(text) if text.isdecimal() else text)
    except BadMoment as error:
        raise click.UsageError(f"{option}: {error}") from None


def read_range(start: str, end: str, now: int) -> tuple[int, int]:
    """The times between which all is wanted, in ns; a usage error for what cannot be meant."""
    from aggregator.research.times import nanoseconds, shown

    begin, until = _moment(start, "--from"), _moment(end, "--to")
    if begin < nanoseconds(EARLIEST):
        raise click.UsageError(f"--from {start}: nothing was traded before {EARLIEST}")
    if until <= begin:
        raise click.UsageError(f"--to {end} is not after --from {start}: write the earlier time behind --from")
    if until > now:
        raise click.UsageError(f"--to {end} is in the future: write {shown(now)} or earlier")
    return begin, until


def find_instrument(exchange: Exchange, symbol: str, listed: tuple[Instrument, ...]) -> Instrument:
    """The one market of a name, the unified or the exchange's own; a failure that says what was probably meant."""
    found = [i for i in listed if symbol in {i.symbol, i.raw_symbol}]
    if len(found) == 1:
        return found[0]
    if found:
        names = ", ".join(sorted(str(i.symbol) for i in found))
        raise fail(
            f"{exchange.id} has {counted(len(found), 'market')} called {symbol}: write one of {names}", EXIT_USAGE
        )
    spelled = {name.casefold(): name for i in listed for name in (i.symbol, i.raw_symbol) if name is not None}
    meant = nearest(symbol, list(spelled))
    hint = f"did you mean {spelled[meant]}?" if meant else f"`aggregator symbols {exchange.id}` lists them"
    raise fail(f"{exchange.id} lists no market called {symbol}; {hint}", EXIT_USAGE)


@click.command(name="backfill")
@click.argument("exchange", metavar="EXCHANGE", shell_complete=exchanges)
@click.argument("symbol", metavar="SYMBOL")
@click.option(
    "--from", "start", required=True, metavar="TIME", help="From this time on: 2026-11-01, or ISO with a time."
)
@click.option("--to", "end", required=True, metavar="TIME", help="Before this time; in UTC, as the other.")
@click.option(
    "--channel", type=click.Choice(("trades", "candles")), default="trades", show_default=True, help="What is wanted."
)
@click.option("--interval", default="1m", show_default=True, help="Of candles.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("data"),
    show_default="data",
    help="The directory of the files; a daemon may write there at the same time.",
)
@click.option("--parquet", is_flag=True, help="Parquet files as those of `aggregator convert` (extra `research`).")
@config_option
@endpoint_option
def command(
    exchange: str,
    symbol: str,
    start: str,
    end: str,
    channel: str,
    interval: str,
    out: Path,
    parquet: bool,
    config: Path | None,
    endpoints: dict[str, str],
) -> None:
    """Trades or candles of the past, asked for by REST within the budget of the host, into files like a daemon's.

    Records are marked by the flag `backfill` and the source `rest`. It can be killed and begun again with the same
    words: it goes on where it was, and writes nothing twice. What the exchange does not give any more is a gap in the
    files, and named in the last line.
    """
    from aggregator.backfill.files import Job
    from aggregator.backfill.running import history_of, reached
    from aggregator.backfill.walks import Target
    from aggregator.cli.normalize import find_exchange

    declared = find_exchange(exchange, asked=True)
    begin, until = read_range(start, end, time.time_ns())
    reach = access(exchange, config, endpoints)
    if not declared.history:
        raise fail(f"{exchange} declares no way to ask for the past; docs/exchanges.md says who does", EXIT_USAGE)
    listed = from_exchange(declared, *reach)
    instrument = find_instrument(declared, symbol, listed.instruments)
    try:
        history = history_of(declared, instrument, channel, interval)
        target = Target(
            history=history, raw_symbol=str(instrument.raw_symbol), start=begin, end=until, interval=interval
        )
        if channel == "candles":
            step = min(target.step, DAY_S * SECOND_NS)  # on which day a longer one begins, the exchange says
            begin = -(-begin // step) * step
            if begin >= until:
                raise click.UsageError(f"no candle of {interval} begins from --from {start} on and before --to {end}")
            target = structs.replace(target, start=begin)
        job = Job(exchange=exchange, instrument=instrument, target=target)
        if reached(target, begin, time.time_ns()) >= until:
            click.echo(f"backfill: {exchange} gives no {channel} of so long ago any more: all is missing", err=True)
        filled = _run(declared, job, out / STAGED if parquet else out, *reach)
        if parquet:
            _convert(out)
    except AggregatorError as error:
        raise fail(f"{exchange}: {error}") from None
    except OSError as error:
        raise fail(f"{error.filename or out}: {error.strerror or error}") from None
    except KeyboardInterrupt:
        click.echo("backfill: stopped; begun again with the same words, it goes on from here", err=True)
        raise click.exceptions.Exit(130) from None
    click.echo(summary(job, filled, out), err=True)


def summary(job: "Job", filled: "Filled", out: Path) -> str:
    """The last line: how much was had, where it is, and what is missing."""
    from aggregator.research.times import shown

    holes = filled.holes
    told = "nothing is missing"
    if holes:
        spans = ", ".join(f"{shown(hole.start)} to {shown(hole.end)}" for hole in holes[:3])
        more = f" and {counted(len(holes) - 3, 'other time')}" if len(holes) > 3 else ""
        told = f"the exchange does not give {spans}{more}: {counted(len(holes), 'gap')}"
    return printable(
        f"backfill: {job.exchange} {job.instrument.symbol}: {counted(filled.records, 'record')} in "
        f"{counted(len(filled.files), 'file')} below {out}; {told}"
    )


def _run(
    exchange: Exchange, job: "Job", out: Path, endpoints: dict[str, str], credentials: Mapping[str, KeyPlace]
) -> "Filled":
    from aggregator.backfill.files import HistoryFiles
    from aggregator.backfill.running import BackfillRun
    from aggregator.ingest.network import Internet
    from aggregator.ingest.rest import Need, Rest
    from aggregator.ingest.signing import Keyring

    files = HistoryFiles(out, job, time.time_ns)

    async def ask() -> "Filled":
        internet = Internet(endpoints)
        network = internet.network()
        if exchange.keys is not None and credentials:
            network = Keyring(exchange.id, exchange.keys, credentials, network).network()
        rest = Rest(network, exchange)
        try:
            with ExitStack() as stack:
                backfill = BackfillRun(
                    job,
                    files,
                    lambda request: rest.fetch(request, Need.BACKFILL),
                    time.time_ns,
                    said=lambda words: click.echo(printable(f"backfill: {words}"), err=True),
                    told=_bar(stack, job),
                )
                return await backfill.run()
        finally:
            await internet.close()

    if files.is_resumed:
        how = "was done before" if files.progress.is_done else "is gone on with"
        click.echo(f"backfill: it {how}: {counted(files.progress.taken, 'record')} so far", err=True)
    try:
        return asyncio.run(ask())
    finally:
        files.close()


def _bar(stack: ExitStack, job: "Job") -> Callable[[int, int], None]:
    """A bar on a terminal; elsewhere nothing is said."""
    if not sys.stderr.isatty():
        return lambda _, __: None
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (BarColumn(), TaskProgressColumn(), TextColumn("{task.description}"), TimeRemainingColumn())
    bar = stack.enter_context(Progress(*columns, console=Console(stderr=True), transient=True))
    begin, until = job.target.start, job.target.end
    task = bar.add_task("", total=(until - begin) / SECOND_NS)

    def told(at: int, records: int) -> None:
        bar.update(task, completed=(at - begin) / SECOND_NS, description=f"{records:,} records")

    return told


def _convert(out: Path) -> None:
    """Make Parquet of the lines that wait."""
    from aggregator.research.converting import convert

    failed = [one for one in convert([out / STAGED], out, jobs=1) if one.state == "failed"]
    if failed:
        raise fail(f"{failed[0].path}: could not be converted: {'; '.join(failed[0].defects)}")
