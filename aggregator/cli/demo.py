"""`aggregator demo`."""

import sys
import tempfile
from pathlib import Path

import click

from aggregator.bus import Batch
from aggregator.cli.run import read_config
from aggregator.cli.sandbox import check_rate, write_config
from aggregator.cli.show import show
from aggregator.daemon import Daemon, run
from aggregator.logs import set_up
from aggregator.registry import simulated_ids
from aggregator.sandbox import Sandbox, SandboxSettings


@click.command(name="demo")
@click.option(
    "--rate",
    default=40.0,
    show_default=True,
    callback=check_rate,
    help="Frames a second, over all simulated exchanges.",
)
@click.option("--json", "as_json", is_flag=True, help="NDJSON; the default where output is no terminal.")
def command(rate: float, as_json: bool) -> None:
    """Simulated exchanges on loopback, a daemon on them, and their records on the screen, until Ctrl-C."""
    set_up("warning")
    is_plain = as_json or not sys.stdout.isatty()
    run(lambda: play(SandboxSettings(simulate=tuple(simulated_ids()), rate=rate), is_plain=is_plain))


async def play(settings: SandboxSettings, *, is_plain: bool) -> None:
    """Run the sandbox and the daemon side by side until the daemon is stopped."""
    with tempfile.TemporaryDirectory(prefix="aggregator-demo-") as directory:
        async with Sandbox(settings) as sandbox:
            path = Path(directory) / "demo.toml"
            feed = f'[[sinks]]\ntype = "feed"\npath = "{directory}/feed.sock"\n'
            path.write_text(f'state = "{directory}/state"\n' + write_config(sandbox, feed))
            click.echo(f"demo: {', '.join(settings.simulate)} are simulated; Ctrl-C stops", err=True)
            click.echo(
                f"demo: aggregator tail --socket {directory}/feed.sock 'trades:*:*'   follows beside this", err=True
            )
            daemon = Daemon(read_config(path))
            daemon.bus.attach(lambda batch: write(batch, daemon, is_plain=is_plain))
            await daemon.run()
    click.echo("demo: stopped", err=True)


def write(batch: Batch, daemon: Daemon, *, is_plain: bool) -> None:
    """Print a batch; when nobody reads any more, stop."""
    try:
        if is_plain:
            sys.stdout.buffer.write(batch.blob)
            sys.stdout.buffer.flush()
        else:
            click.echo("\n".join(show(line) for line in batch.lines))
    except BrokenPipeError:
        daemon.leave()
