"""`aggregator docs`."""

from pathlib import Path

import click

from aggregator.cli import COMMANDS, EXIT_ERROR, fail, group


@click.command(name="docs")
@click.option("--check", is_flag=True, help="Write nothing; exit with 1 when a page is stale.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default="docs",
    show_default=True,
    help="The directory of the pages.",
)
@click.option(
    "--man",
    "manual",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write the pages of the manual instead, for man, into this directory.",
)
def command(check: bool, out: Path, manual: Path | None) -> None:
    """Write the pages that are made from the code: records, states, exchanges, commands, configuration, limits."""
    if manual is not None:
        _write_manual(manual)
        return
    from aggregator.docgen import COMMAND, make_pages, stale, write

    pages, complaints = make_pages(group, COMMANDS)
    for complaint in complaints:
        click.echo(complaint, err=True)
    try:
        found = stale(pages, out) if check else write(pages, out)
    except OSError as error:
        raise fail(f"{error.filename}: {error.strerror}") from None
    for path in found:
        click.echo(f"{path} is stale" if check else f"{path} written", err=True)
    if check and found:
        mend = COMMAND if out == Path("docs") else f"{COMMAND} --out {out}"
        click.echo(f"mend it with: {mend}", err=True)
    if complaints:
        click.echo("the pages are incomplete until what stands above is mended in the code", err=True)
    if complaints or (check and found):
        raise click.exceptions.Exit(EXIT_ERROR)


def _write_manual(directory: Path) -> None:
    from aggregator.docgen import write
    from aggregator.docgen.man import manual_pages

    try:
        for path in write(manual_pages(group, COMMANDS), directory):
            click.echo(f"{path} written", err=True)
    except OSError as error:
        raise fail(f"{error.filename}: {error.strerror}") from None
