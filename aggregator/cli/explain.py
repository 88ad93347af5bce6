"""`aggregator explain`: why a topic is live, or is not."""

from pathlib import Path

import click
import msgspec

from aggregator.cli.completing import topics
from aggregator.cli.ctl import ask, with_daemon
from aggregator.daemon.printable import printable


@click.command(name="explain")
@with_daemon
@click.option("--json", "as_json", is_flag=True, help="As JSON: docs/status.md describes it.")
@click.argument("topic", shell_complete=topics)
def command(path: Path, as_json: bool, topic: str) -> None:
    """Say why TOPIC is live or is not, step by step, and what to do.

    TOPIC is channel:exchange:symbol; of a pattern the first ten topics are explained. Without
    --socket or --config the daemon is the one of the service, or else of this user.
    """
    line = ask(path, {"op": "explain", "topic": topic})
    if as_json:
        click.echo(line.decode().rstrip())
        return
    for number, found in enumerate(msgspec.json.decode(line)["topics"]):
        if number:
            click.echo()
        click.echo(printable(f"{found['topic']} is {found['state']}"))
        for step in found["steps"]:
            click.echo(printable(f"  - {step}"))
        for advice in found["advice"]:
            click.echo(printable(f"  what to do: {advice}"))
