"""`aggregator sandbox`."""

import asyncio
import json
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import click

from aggregator.catalog.registry import every_exchange, load_exchange, simulated_ids
from aggregator.cli import fail
from aggregator.cli.completing import simulated
from aggregator.errors import BadFrame, NotACapture
from aggregator.sandbox import Sandbox, SandboxSettings, read_faults, read_hostile
from aggregator.sandbox.settings import HOSTILE, TIMED

SINKS = """\
[[sinks]]
type = "stdout"

#[[sinks]]
#type = "files"
#path = "./data"

#[feed]
#listen = ["unix:./feed.sock"]
"""


ANY_KEY = "c2FuZGJveC1jcmVkZW50aWFs"  # `sandbox-credential`, in base64: keys that must be decoded can be


def write_config(sandbox: Sandbox, sinks: str = SINKS) -> str:
    """A configuration, as TOML, of a daemon on everything that is simulated or played back.

    What the listings of exchanges that are played back are asked for is answered from then on, as far as it can be.
    """
    from aggregator.capture.speakers import speakers

    parts = []
    for id in sandbox.simulated:
        exchange = load_exchange(id)
        offered = [channel for channel in exchange.channels if channel in SIMULATED] if exchange else []
        parts.append(block(id, offered, ["*"], sandbox.endpoints(id)))
    for speaker in speakers(sandbox.tape, every_exchange()):
        if speaker.id not in sandbox.simulated:
            sandbox.lend(speaker.answers)
            parts.append(block(speaker.id, speaker.channels, speaker.symbols, sandbox.here(speaker.hosts)))
    return "".join(parts) + sinks


def block(id: str, channels: Sequence[str], symbols: Sequence[str], endpoints: Mapping[str, str]) -> str:
    """One exchange of a configuration; the sandbox takes any keys, so that they may stand there.

    They stand only where there is nothing without: what is simulated knows what everybody gets.
    """
    exchange = load_exchange(id)
    keys = exchange.keys if exchange is not None and exchange.with_keys == "all" else None
    shown = {} if keys is None else dict.fromkeys(keys.fields, f"plain:{ANY_KEY}")
    credentials = ", ".join(f"{name} = {json.dumps(place)}" for name, place in shown.items())
    written = f"credentials = {{ {credentials} }}\n" if shown else ""
    ends = "".join(f"{json.dumps(original)} = {json.dumps(here)}\n" for original, here in endpoints.items())
    return (
        f'[[exchanges]]\nid = "{id}"\nchannels = {json.dumps(channels)}\n'
        f"symbols = {json.dumps(symbols)}\n{written}[exchanges.endpoints]\n{ends}\n"
    )


SIMULATED = ("trades", "book", "bbo", "ticker", "candles")
HOSTILE_HELP = (
    "What a simulated exchange does that has gone wrong or means harm, on loopback alone: "
    f"all, {', '.join((*HOSTILE, *TIMED))}."
)
FASTEST = 100_000  # frames a second; far beyond what one process serves


def check_rate(_context: click.Context, _option: click.Parameter, value: float) -> float:
    """The option, if it is a rate at which a market can move (click's own range lets NaN through)."""
    if not 0 < value <= FASTEST:
        raise click.BadParameter(f"{value:g} is not above 0 and at most {FASTEST}")
    return value


@click.command(name="sandbox")
@click.option(
    "--simulate",
    metavar="ID,ID…",
    default="",
    shell_complete=simulated,
    help="Exchanges to simulate, without end.",
)
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=8700, show_default=True, help="0 takes a free one.")
@click.option(
    "--rate", default=50.0, show_default=True, callback=check_rate, help="Frames a second, over all simulated markets."
)
@click.option("--speed", type=click.FloatRange(min=0), default=1.0, help="Of playback; 0 is as fast as can be.")
@click.option("--loop", is_flag=True, help="Play captures again and again.")
@click.option("--seed", default=1, show_default=True, help="The same seed gives the same market and faults.")
@click.option("--faults", default="", metavar="KIND=VALUE,…", help="drop=0.001,close=30s,…: see docs/sandbox.md.")
@click.option("--hostile", default="", metavar="NAME,…", help=HOSTILE_HELP)
@click.option("--control", type=click.Path(path_type=Path), help="A socket to change faults and see true books.")
@click.option("--fault-log", type=click.Path(path_type=Path), help="Append every injected fault to this file.")
@click.option("--config-out", type=click.Path(path_type=Path), help="Write a daemon's configuration for all this.")
@click.argument("captures", type=click.Path(path_type=Path, exists=True, dir_okay=False), nargs=-1)
def command(
    simulate: str,
    host: str,
    port: int,
    rate: float,
    speed: float,
    loop: bool,
    seed: int,
    faults: str,
    hostile: str,
    control: Path | None,
    fault_log: Path | None,
    config_out: Path | None,
    captures: tuple[Path, ...],
) -> None:
    """Serve exchanges on loopback: CAPTURES played back, and simulated markets that never end.

    An address wss://HOST/PATH is served at ws://127.0.0.1:PORT/HOST/PATH.
    """
    try:
        settings = SandboxSettings(
            captures=captures,
            simulate=tuple(filter(None, simulate.split(","))),
            host=host,
            port=port,
            rate=rate,
            speed=speed,
            loop=loop,
            seed=seed,
            faults=read_faults(faults),
            hostile=read_hostile(hostile),
            control=control,
            fault_log=fault_log,
        )
        sandbox = Sandbox(settings)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    except (OSError, BadFrame, NotACapture) as error:
        raise fail(str(error)) from None
    if not settings.captures and not settings.simulate:
        known = ",".join(simulated_ids())
        raise click.UsageError(f"nothing to serve: name captures, or simulate exchanges: --simulate {known}")
    with suppress(KeyboardInterrupt):
        asyncio.run(serve(sandbox, config_out))


async def serve(sandbox: Sandbox, config_out: Path | None) -> None:
    """Serve until stopped."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        async with sandbox:
            if config_out is not None:
                config_out.write_text(write_config(sandbox))  # noqa: ASYNC240 - once, before anything is served
            click.echo(f"sandbox: serving on port {sandbox.port}", err=True)
            for id in (*sandbox.simulated, None):
                for original, here in sandbox.endpoints(id).items():
                    click.echo(f"sandbox: {original} is {here}", err=True)
            await stop.wait()
    except OSError as error:
        raise fail(str(error)) from None
