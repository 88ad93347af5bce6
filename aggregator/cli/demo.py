"""`aggregator demo`."""

import asyncio
import json
import socket
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import click

from aggregator.catalog.registry import simulated_ids
from aggregator.cli.board import Board
from aggregator.cli.run import read_config
from aggregator.cli.sandbox import check_rate, write_config
from aggregator.cli.show import show
from aggregator.cli.table import console
from aggregator.cli.terminal import say, screen
from aggregator.daemon.daemon import Daemon, run
from aggregator.daemon.logs import set_up
from aggregator.records import Instrument, Record
from aggregator.sandbox import Sandbox, SandboxSettings

REDRAW_S = 0.25
KEPT = "200MB"  # the most that is kept of what goes with the demo


@click.command(name="demo")
@click.option(
    "--rate",
    default=40.0,
    show_default=True,
    callback=check_rate,
    help="Frames a second, over all simulated exchanges.",
)
@click.option("--port", default=0, help="Of the web page on this machine; a free one unless it is given.")
@click.option(
    "--control",
    type=click.Path(path_type=Path),
    help="A socket at which the simulated exchanges are told to misbehave, as that of `sandbox`.",
)
@click.option(
    "--record",
    type=click.Path(file_okay=False, path_type=Path),
    help="A directory for all records, as the files of the sink `files`, for research.",
)
@click.option("--json", "as_json", is_flag=True, help="NDJSON; the default where output is no terminal.")
def command(rate: float, port: int, control: Path | None, record: Path | None, as_json: bool) -> None:
    """Simulated exchanges on loopback, a daemon on them, and their prices on the screen, until Ctrl-C.

    A web page shows them too, at the address that is printed. A terminal shows a table; a pipe, or one that cannot be
    drawn over, gets every record.
    """
    set_up("warning")
    settings = SandboxSettings(simulate=tuple(simulated_ids()), rate=rate, control=control)
    files = None if record is None else record.absolute()
    run(lambda: play(settings, port, files, is_plain=as_json))


async def play(settings: SandboxSettings, port: int, record: Path | None, *, is_plain: bool) -> None:
    """Run the sandbox and the daemon side by side until the daemon is stopped."""
    with tempfile.TemporaryDirectory(prefix="aggregator-demo-") as directory:
        async with Sandbox(settings) as sandbox:
            path = Path(directory) / "demo.toml"
            page = f"127.0.0.1:{port or free_port()}"
            feed = f'[feed]\nlisten = ["unix:{directory}/feed.sock", "http:{page}"]\n'
            place, bound = str(record or f"{directory}/recording"), "" if record else f'keep_bytes = "{KEPT}"\n'
            files = f'[[sinks]]\ntype = "files"\npath = {json.dumps(place)}\n{bound}'
            path.write_text(f'state = "{directory}/state"\n' + write_config(sandbox, files + feed))
            click.echo(f"demo: {', '.join(settings.simulate)} are simulated; Ctrl-C stops", err=True)
            click.echo(
                f"demo: aggregator tail --socket {directory}/feed.sock 'trades:*:*'   follows beside this", err=True
            )
            click.echo(f"demo: http://{page}/   is the web page", err=True)
            if record is not None:
                click.echo(f"demo: files are in {record}", err=True)
            daemon = Daemon(read_config(path))
            if screen().can_redraw and not is_plain:
                await draw(daemon)
            else:
                is_plain = is_plain or not screen().is_person
                daemon.bus.attach(lambda batch: write(batch.records, batch.lines, daemon, is_plain=is_plain))
                await daemon.run()
    click.echo("demo: stopped", err=True)


def free_port() -> int:
    """A port of this machine that nobody listens at."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


async def draw(daemon: Daemon) -> None:
    """Run the daemon under a table of its newest prices."""
    from rich.live import Live

    board = Board()
    daemon.bus.attach(lambda batch: board.note(batch.records))
    with Live(console=console(markup=True), auto_refresh=False) as live:

        async def redraw() -> None:
            while True:
                await asyncio.sleep(REDRAW_S)
                live.update(board.table(time.time_ns(), live.console.width), refresh=True)

        drawing = asyncio.create_task(redraw())
        try:
            await daemon.run()
        finally:
            drawing.cancel()


def write(records: Sequence[Record], lines: Sequence[bytes], daemon: Daemon, *, is_plain: bool) -> None:
    """Print records; when nobody reads any more, stop."""
    try:
        if is_plain:
            sys.stdout.buffer.write(b"".join(lines))
            sys.stdout.buffer.flush()
            return
        for record, line in zip(records, lines, strict=True):
            if not isinstance(record, Instrument):
                say(show(line))
    except BrokenPipeError:
        daemon.leave()
