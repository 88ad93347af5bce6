"""`aggregator top`: exchanges, topics, sinks and clients of a running daemon, as they are now."""

from pathlib import Path

import click
import msgspec

from aggregator.cli.ctl import NoAnswer, ask, with_daemon
from aggregator.cli.top_rows import RateHistory, as_json, sheets
from aggregator.cli.watching import print_sheets, with_textual
from aggregator.daemon.status import DaemonStatus

MOST_TOPICS = 1000  # so many are shown


@click.command(name="top")
@with_daemon
@click.option("--once", is_flag=True, help="Print it once, and end.")
@click.option("--json", "is_json", is_flag=True, help="With --once: as one JSON object.")
@click.option("--every", type=click.FloatRange(0.2, 60), default=1.0, show_default=True, help="Seconds between looks.")
@click.option("--all", "is_all", is_flag=True, help="Every topic, and not only those that are in trouble.")
def command(path: Path, once: bool, is_json: bool, every: float, is_all: bool) -> None:
    """Watch a daemon: exchanges, topics in trouble, sinks and clients.

    The keys 1 to 4 choose a table, s and r how it is sorted, a shows all topics, q ends it. Without --socket or
    --config the daemon is the one of the service, or else of this user.
    """
    if is_json and not once:
        raise click.UsageError("--json is for --once")
    if once:
        status = look(path, is_all=is_all)
        if is_json:
            click.echo(msgspec.json.encode(as_json(status)).decode())
            return
        print_sheets(sheets(status, RateHistory()))
        return
    with with_textual("top"):
        from aggregator.cli.top_screen import Top
    Top(lambda is_all: look(path, is_all=is_all), every, is_all=is_all).run()


def look(path: Path, *, is_all: bool) -> DaemonStatus:
    """The status of a daemon now. Raises NoAnswer."""
    asked = {"topics": ["*:*:*"]} if is_all else {"only": "troubled"}
    line = ask(path, {"op": "status", "most": MOST_TOPICS, **asked})
    try:
        found = msgspec.json.decode(msgspec.json.decode(line, type=dict[str, msgspec.Raw])["status"], type=DaemonStatus)
    except msgspec.MsgspecError as error:
        raise NoAnswer(f"{path}: a daemon of another version answers ({error})") from None
    return found
