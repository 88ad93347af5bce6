"""`aggregator schema`: what other programs need to be told of ours."""

import json

import click

from aggregator.cli.completing import channels
from aggregator.errors import nearest
from aggregator.records import CHANNELS, DERIVED_OF
from aggregator.tables.clauses import TOOLS, Tool, clause, csv_clause, duckdb_csv_select, duckdb_select
from aggregator.tables.columns import TYPE_OF, tag, types_of

NAMES = (*CHANNELS, *DERIVED_OF.values())


@click.group(name="schema")
def command() -> None:
    """Schemas for other programs, made from the code."""


@command.command()
def config() -> None:
    """The JSON Schema of a configuration, for editors and for programs that write one."""
    from aggregator.config.json_schema import json_schema

    click.echo(json.dumps(json_schema(), indent=2))


@command.command()
@click.option("--for", "tool", type=click.Choice(TOOLS), required=True, help="The tool that is to read records.")
@click.option(
    "--of", "form", type=click.Choice(("ndjson", "csv")), default="ndjson", show_default=True, help="The files."
)
@click.option("--view", is_flag=True, help="DuckDB: a whole view, with numbers that compute and times as times.")
@click.argument("channel", shell_complete=channels)
def records(tool: Tool, form: str, view: bool, channel: str) -> None:
    """The clause with which a tool reads files of NDJSON or CSV right, for each record type of a channel.

    CHANNEL is a channel or a record type. Without such a clause tools guess: they round, and read values as null.
    A Parquet file says itself what its columns are.
    """
    found = types_of(channel)
    if not found:
        meant = nearest(channel, (*NAMES, *TYPE_OF))
        hint = f"did you mean {meant}?" if meant else f"channels: {', '.join(NAMES)}"
        raise click.UsageError(f"{channel!r} is neither a channel nor a record type; {hint}")
    if view and tool != "duckdb":
        raise click.UsageError("--view is DuckDB's: write --for duckdb --view")
    for number, kind in enumerate(found):
        if number:
            click.echo()
        comment = "--" if view or tool == "clickhouse" else "#"
        if len(found) > 1:
            click.echo(f"{comment} {tag(kind)}")
        if view:
            query = (duckdb_csv_select if form == "csv" else duckdb_select)(kind, "'FILES'")
            click.echo(f"CREATE OR REPLACE VIEW {tag(kind)} AS\n{query};")
        else:
            click.echo((csv_clause if form == "csv" else clause)(tool, kind))
