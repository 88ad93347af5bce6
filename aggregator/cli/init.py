"""`aggregator init`."""

from importlib import resources
from pathlib import Path

import click

from aggregator.cli import fail

EXAMPLES = ("live", "service", "relay", "full")


def example(name: str) -> str:
    """The text of a configuration that comes with the program."""
    return (resources.files("aggregator") / "data/examples" / f"{name}.toml").read_text("utf-8")


@click.command(name="init")
@click.option(
    "--example",
    "name",
    type=click.Choice(EXAMPLES),
    default="live",
    show_default=True,
    help="For a try here, for the systemd service, to pass on what another daemon gathers, or with every key.",
)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="A new file; else standard output.")
def command(name: str, out: Path | None) -> None:
    """Print a configuration to start from, or write it to a new file."""
    text = example(name)
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
