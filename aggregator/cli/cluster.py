"""`aggregator cluster`: who owns what, why, how far whoever stands by is, and what all members share."""

import json
import time
from pathlib import Path

import click
import msgspec

from aggregator.cli import cluster_apply, cluster_top, fail
from aggregator.cli.cluster_view import (
    CONFIG,
    ClusterView,
    ClusterWatch,
    ask_servers,
    in_force,
    read_member,
    shards_of,
    view_of,
)
from aggregator.cli.completing import exchanges
from aggregator.cli.table import print_rows
from aggregator.cluster.ranking import line_of, score
from aggregator.cluster.store import DRAIN, MEMBER, ClusterStore, Replaced
from aggregator.daemon.printable import printable
from aggregator.records import SECOND_NS


@click.group(name="cluster")
def command() -> None:
    """Show who of a cluster owns which exchange, and why; have its members go by another configuration, or own nothing.

    The configuration is that of any member: its table [cluster] says where the servers are.
    """


command.add_command(cluster_top.top)
command.add_command(cluster_apply.apply)
command.add_command(cluster_apply.history)


@command.command(name="status")
@CONFIG
@click.option("--json", "as_json", is_flag=True, help="Everything, as one JSON object.")
def status(config: Path, as_json: bool) -> None:
    """Show who is there, who owns which exchange since when, and how far whoever stands by is."""
    found, keys = read_member(config)
    view = ask_servers(keys, view_of)
    if as_json:
        click.echo(json.dumps(msgspec.to_builtins(view)))
        return
    rows: list[tuple[str, ...]] = []
    for name, report in view.members.items():
        own = view.revision(name), f"{report.member.weight:g}"
        rows.append((name, view.state(name), *own, " ".join(view.owned(name)), " ".join(view.stood_by(name))))
    print_rows(("member", "state", "configuration", "weight", "owns", "stands by for"), rows)
    click.echo()
    columns = ("shard", "owner", "since", "records", "standby", "ready", "behind")
    print_rows(columns, [_row(view, id) for id in shards_of(in_force(config, found, view.shared), view)])
    for name, report in view.members.items():
        if report.refused and view.is_alive(name):
            why = "\n".join(map(printable, report.refusal.splitlines()))
            click.echo(f"\n{printable(name)} cannot go by revision {report.refused}:\n{why}")
        for trouble in report.troubles if view.is_alive(name) else ():
            click.echo(f"\n{printable(name)}: {printable(trouble)}")


def _row(view: ClusterView, shard: str) -> tuple[str, ...]:
    own, standbys, since = view.share(view.owner(shard), shard), view.standbys(shard), view.since(shard)
    return (
        shard,
        view.owner_in_words(shard),
        "" if since is None else f"{since} s",
        str(own.number or "") if own is not None else "",
        " ".join(standbys),
        " ".join(f"{share.readiness:.0%}" for share in standbys.values()),
        " ".join(str(view.behind(shard, name)) for name in standbys),
    )


@command.command(name="explain")
@CONFIG
@click.argument("exchange", shell_complete=exchanges)
def explain(config: Path, exchange: str) -> None:
    """Say why EXCHANGE is owned by its owner: who is in line for it, and who could go on."""
    found, keys = read_member(config)
    view = ask_servers(keys, view_of)
    found = in_force(config, found, view.shared)
    alike = found.cluster or keys
    shards = {shard: each.id for each in found.exchanges for shard in alike.shards_of(each.id)}
    if exchange not in shards:
        shared = f"revision {view.shared.revision} of the shared configuration" if view.shared.text else config
        raise fail(f"{exchange!a:.80} is not among the exchanges of {shared}, and no bucket of one")
    lease = view.leases.get(exchange)
    needs = (alike.needs or {}).get(shards[exchange], ())
    able = [report.member for name, report in view.members.items() if view.is_alive(name) and name not in view.draining]
    line = line_of(exchange, able, needs)
    owner = view.owner(exchange)
    told = f"owned by {owner}, by lease {lease.fence}" if owner and lease else "owned by nobody"
    click.echo(printable(f"{exchange}: {told}"))
    for place, name in enumerate(line, 1):
        member = view.members[name].member
        share = view.share(name, exchange)
        ready = "could go on at once" if exchange in member.ready else "could not go on at once"
        told = "it does not gather it" if share is None else f"{share.readiness:.0%} of its topics lack nothing"
        click.echo(f"{place}. {printable(name)}: score {score(exchange, name, member.weight):.3f}; {ready}: {told}")
    for name in sorted(view.members.keys() - set(line)):
        click.echo(f"-  {printable(name)}: {_why_not(view, name, needs)}")
    if owner and line and line[0] != owner:
        is_ready = exchange in view.members[line[0]].member.ready
        when = "within a lease" if is_ready else "once it is ready"
        click.echo(f"{printable(line[0])} is first in line, and gets it {when}")


def _why_not(view: ClusterView, name: str, needs: tuple[str, ...]) -> str:
    report = view.members[name]
    if not view.is_alive(name):
        return f"silent for {(view.ts - report.ts) / SECOND_NS:.0f} s"
    if report.refused and not report.revision:
        return f"cannot go by revision {report.refused} of the shared configuration, and has gone by none before"
    if view.state(name) == "draining":
        return "draining"
    lacking = [label for label in needs if label not in report.member.labels]
    return f"lacks {', '.join(lacking)}" if lacking else "its weight is 0"


@command.command(name="drain")
@CONFIG
@click.option("--undo", is_flag=True, help="Have it own its share again.")
@click.argument("host")
def drain(config: Path, undo: bool, host: str) -> None:
    """Have HOST own nothing: what it owns goes to others as soon as they are ready, and without a hole."""
    _, keys = read_member(config)

    async def write(store: ClusterStore) -> bool:
        if host not in (await view_of(store)).members:
            return False
        if undo:
            await store.remove(f"{DRAIN}.{host}")
        else:
            await store.replace(f"{DRAIN}.{host}", time.time_ns(), None)
        return True

    if not ask_servers(keys, write):
        raise fail(f"no member of the cluster is named {host!a:.80}; `aggregator cluster status` names them")
    said = "owns its share again" if undo else "drains; `aggregator cluster status` shows how far it is"
    click.echo(f"{host}: {said}")


@command.command(name="forget")
@CONFIG
@click.argument("host")
def forget(config: Path, host: str) -> None:
    """Forget HOST, which is gone for good: what it has told of itself, and that it drains.

    One that is alive is refused. One that comes back tells of itself again, and owns its share.
    """
    _, keys = read_member(config)

    async def remove(store: ClusterStore) -> str:
        watch = ClusterWatch(store)
        await watch.begin()
        if watch.view().is_alive(host):
            return f"{host} is alive: end its daemon first, or have it own nothing with `aggregator cluster drain`"
        kept = [watch.entries.get(f"{kind}.{host}") for kind in (MEMBER, DRAIN)]
        found = [entry for entry in kept if entry is not None and entry.value is not None]
        if not found:
            return f"no member of the cluster is named {host!a:.80}; `aggregator cluster status` names them"
        try:
            for entry in found:
                await store.remove(entry.key, entry.revision)
        except Replaced:
            return f"{host} has come back: `aggregator cluster status` shows it"
        return ""

    if refusal := ask_servers(keys, remove):
        raise fail(refusal)
    click.echo(f"{host}: is forgotten")
