"""`aggregator tap`: the raw frames of a topic, beside the records that they became."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import msgspec

from aggregator.cli import counted
from aggregator.cli.completing import topics
from aggregator.cli.ctl import ask_on, with_daemon
from aggregator.daemon.printable import printable


@click.command(name="tap")
@with_daemon
@click.option("--json", "as_json", is_flag=True, help="Each frame as a line of JSON: docs/status.md describes it.")
@click.option("--seconds", type=click.FloatRange(0.1, 3600), default=10.0, show_default=True, help="Look for so long.")
@click.option("--count", "-n", type=click.IntRange(1), default=1000, show_default=True, help="Show no more frames.")
@click.argument("topic", shell_complete=topics)
def command(path: Path, as_json: bool, seconds: float, count: int, topic: str) -> None:
    """Show the raw frames of TOPIC, and below each the records that it became.

    TOPIC is channel:exchange:symbol, or a pattern. Frames that name its market and became nothing, or could not be
    read, are shown too. The daemon looks closer at these connections meanwhile: it takes a little more of its time.
    """
    for line in ask_on(path, {"op": "tap", "topic": topic, "seconds": seconds, "most": count}, patience=seconds + 30):
        told = msgspec.json.decode(line)
        if "frame" not in told:
            click.echo(counted(told["frames"], "frame"), err=True)
        elif as_json:
            click.echo(line.decode().rstrip())
        else:
            _show(told)


def _show(told: dict[str, Any]) -> None:
    if told["skipped"]:
        click.echo(f"({counted(told['skipped'], 'frame')} more, for which there was no time)")
    at = datetime.fromtimestamp(told["ts"] / 1e9, UTC)
    click.echo(printable(f"{at:%H:%M:%S.%f} {told['conn']} < {told['frame']}"))
    for record in told["records"]:
        click.echo(f"    > {msgspec.json.encode(record).decode()}")
    if told["error"] is not None:
        click.echo(printable(f"    ! {told['error']}"))
    elif not told["records"]:
        click.echo("    > nothing")
