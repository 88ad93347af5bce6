"""`aggregator cluster top`: who owns which shard now, who stands by, and what each member takes of its host."""

from pathlib import Path

import click
import msgspec

from aggregator.cli.cluster_rows import as_json, cluster_sheets
from aggregator.cli.cluster_view import CONFIG, ask_servers, in_force, read_member, shards_of, view_of
from aggregator.cli.top_rows import RateHistory
from aggregator.cli.watching import print_sheets, with_textual


@click.command(name="top")
@CONFIG
@click.option("--once", is_flag=True, help="Print it once, and end.")
@click.option("--json", "is_json", is_flag=True, help="With --once: as one JSON object.")
@click.option("--every", type=click.FloatRange(0.2, 60), default=1.0, show_default=True, help="Seconds between looks.")
def top(config: Path, once: bool, is_json: bool, every: float) -> None:
    """Watch a cluster: who owns which shard since when, who stands by and how far behind, and the load of members.

    The keys 1 and 2 choose a table, s and r how it is sorted, q ends it. Members tell of themselves every 4 seconds.
    """
    if is_json and not once:
        raise click.UsageError("--json is for --once")
    found, keys = read_member(config)
    if once:
        view = ask_servers(keys, view_of)
        shards = shards_of(in_force(config, found, view.shared), view)
        if is_json:
            click.echo(msgspec.json.encode(as_json(view, shards)).decode())
            return
        print_sheets(cluster_sheets(view, shards, RateHistory()))
        return
    with with_textual("cluster top"):
        from aggregator.cli.cluster_screen import ClusterTop
    ClusterTop(keys, lambda shared: in_force(config, found, shared), every).run()
