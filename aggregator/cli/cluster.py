"""`aggregator cluster`: who owns what, why, and how far whoever stands by is."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import click
import msgspec
from msgspec import Struct

from aggregator.cli import fail
from aggregator.cli.completing import exchanges
from aggregator.cli.table import print_rows
from aggregator.cluster.lease import TTL_S, Lease
from aggregator.cluster.ranking import line_of, score
from aggregator.cluster.report import MemberReport, ShareReport, read_report
from aggregator.cluster.settings import ClusterKeys
from aggregator.cluster.store import DRAIN, LEASE, MEMBER, BucketEntry, ClusterStore, Unanswered, open_store, read_lease
from aggregator.config.config import Config
from aggregator.errors import AggregatorError, in_short
from aggregator.records import SECOND_NS

ANSWER_S = 10.0
T = TypeVar("T")


class ClusterView(Struct, frozen=True, kw_only=True):
    """The bucket as it stands.

    ts: when it was read
    members: by name
    leases: by shard
    draining: members that are to own nothing
    """

    ts: int
    members: dict[str, MemberReport]
    leases: dict[str, Lease]
    draining: list[str]

    def is_alive(self, name: str) -> bool:
        """Tell whether a member has told of itself lately."""
        report = self.members.get(name)
        return report is not None and self.ts - report.ts < TTL_S * SECOND_NS

    def share(self, name: str, shard: str) -> ShareReport | None:
        """The word of a member about a shard."""
        report = self.members.get(name)
        return next((s for s in report.shares if s.shard == shard), None) if report is not None else None


@click.group(name="cluster")
def command() -> None:
    """Show who of a cluster owns which exchange, and why; have a host own nothing.

    The configuration is that of any member: its table [cluster] says where the servers are.
    """


CONFIG = click.option("--config", "-c", "config", type=click.Path(path_type=Path), required=True, help="A member's.")


def _read(config: Path) -> tuple[Config, ClusterKeys]:
    from aggregator.cli.run import read_config

    found = read_config(config)
    if found.cluster is None:
        raise fail(f"{config}: it has no table [cluster], so its daemon is a member of none")
    return found, found.cluster


def _ask(keys: ClusterKeys, ask: Callable[[ClusterStore], Awaitable[T]]) -> T:
    """Ask the servers, or leave with the reason why that cannot be."""

    async def asked() -> T:
        async with asyncio.timeout(ANSWER_S):
            store = await open_store(keys)
            try:
                return await ask(store)
            finally:
                await store.close()

    try:
        return asyncio.run(asked())
    except TimeoutError:
        raise fail(f"the servers do not answer within {ANSWER_S:.0f} s: {', '.join(keys.nats)}") from None
    except (OSError, AggregatorError, Unanswered) as error:
        raise fail(f"{', '.join(keys.nats)}: {in_short(error)}") from None


def _shards(found: Config, keys: ClusterKeys) -> dict[str, str]:
    """The shards of a configuration, and the exchange of each."""
    return {shard: each.id for each in found.exchanges for shard in keys.shards_of(each.id)}


async def _view(store: ClusterStore) -> ClusterView:
    entries = {entry.key: entry for entry in await store.all_entries()}

    def of(kind: str) -> dict[str, BucketEntry]:
        return {k.removeprefix(f"{kind}."): e for k, e in entries.items() if k.startswith(f"{kind}.")}

    members = {name: report for name, entry in of(MEMBER).items() if (report := read_report(entry.value)) is not None}
    leases = {name: lease for name, entry in of(LEASE).items() if (lease := read_lease(entry.value)) is not None}
    draining = [name for name, entry in of(DRAIN).items() if entry.value is not None]
    return ClusterView(ts=time.time_ns(), members=members, leases=leases, draining=sorted(draining))


@command.command(name="status")
@CONFIG
@click.option("--json", "as_json", is_flag=True, help="Everything, as one JSON object.")
def status(config: Path, as_json: bool) -> None:
    """Show who is there, who owns which exchange since when, and how far whoever stands by is."""
    found, keys = _read(config)
    view = _ask(keys, _view)
    if as_json:
        click.echo(json.dumps(msgspec.to_builtins(view)))
        return
    rows: list[tuple[str, ...]] = []
    for name, report in sorted(view.members.items()):
        owned = [shard for shard, lease in view.leases.items() if lease.owner == name]
        others = [share.shard for share in report.shares if share.shard not in owned]
        state = "draining" if name in view.draining else "alive" if view.is_alive(name) else "silent"
        rows.append((name, state, f"{report.member.weight:g}", " ".join(sorted(owned)), " ".join(sorted(others))))
    print_rows(("member", "state", "weight", "owns", "stands by for"), rows)
    click.echo()
    ids = sorted(_shards(found, keys).keys() | view.leases.keys())
    columns = ("shard", "owner", "since", "records", "standby", "ready", "behind")
    print_rows(columns, [_row(view, id) for id in ids])


def _row(view: ClusterView, exchange: str) -> tuple[str, ...]:
    lease = view.leases.get(exchange)
    owner = lease.owner if lease is not None else ""
    own = view.share(owner, exchange)
    standby = [name for name in view.members if name != owner and view.is_alive(name) and view.share(name, exchange)]
    shares = [share for name in standby if (share := view.share(name, exchange)) is not None]
    number = 0 if own is None else own.number
    return (
        exchange,
        (owner or "nobody") + ("" if not owner or view.is_alive(owner) else " (silent)"),
        _since(view, lease),
        str(number or ""),
        " ".join(standby),
        " ".join(f"{share.readiness:.0%}" for share in shares),
        " ".join(str(max(0, number - share.number)) for share in shares),
    )


def _since(view: ClusterView, lease: Lease | None) -> str:
    if lease is None or not lease.owner or not lease.since:
        return ""
    return f"{max(0, view.ts - lease.since) // SECOND_NS} s"


@command.command(name="explain")
@CONFIG
@click.argument("exchange", shell_complete=exchanges)
def explain(config: Path, exchange: str) -> None:
    """Say why EXCHANGE is owned by its owner: who is in line for it, and who could go on."""
    found, keys = _read(config)
    shards = _shards(found, keys)
    if exchange not in shards:
        raise fail(f"{exchange!a:.80} is not among the exchanges of {config}, and no bucket of one")
    view = _ask(keys, _view)
    lease = view.leases.get(exchange)
    needs = (keys.needs or {}).get(shards[exchange], ())
    able = [report.member for name, report in view.members.items() if view.is_alive(name) and name not in view.draining]
    line = line_of(exchange, able, needs)
    owner = lease.owner if lease is not None else ""
    click.echo(f"{exchange}: {f'owned by {owner}, by lease {lease.fence}' if owner and lease else 'owned by nobody'}")
    for place, name in enumerate(line, 1):
        member = view.members[name].member
        share = view.share(name, exchange)
        ready = "could go on at once" if exchange in member.ready else "could not go on at once"
        told = "it does not gather it" if share is None else f"{share.readiness:.0%} of its topics lack nothing"
        click.echo(f"{place}. {name}: score {score(exchange, name, member.weight):.3f}; {ready}: {told}")
    for name in sorted(view.members.keys() - set(line)):
        click.echo(f"-  {name}: {_why_not(view, name, needs)}")
    if owner and line and line[0] != owner:
        is_ready = exchange in view.members[line[0]].member.ready
        click.echo(f"{line[0]} is first in line, and gets it {'within a lease' if is_ready else 'once it is ready'}")


def _why_not(view: ClusterView, name: str, needs: tuple[str, ...]) -> str:
    member = view.members[name].member
    if not view.is_alive(name):
        return f"silent for {(view.ts - view.members[name].ts) / SECOND_NS:.0f} s"
    if name in view.draining or member.is_draining:
        return "draining"
    lacking = [label for label in needs if label not in member.labels]
    return f"lacks {', '.join(lacking)}" if lacking else "its weight is 0"


@command.command(name="drain")
@CONFIG
@click.option("--undo", is_flag=True, help="Have it own its share again.")
@click.argument("host")
def drain(config: Path, undo: bool, host: str) -> None:
    """Have HOST own nothing: what it owns goes to others as soon as they are ready, and without a hole."""
    _, keys = _read(config)

    async def write(store: ClusterStore) -> bool:
        if host not in (await _view(store)).members:
            return False
        if undo:
            await store.remove(f"{DRAIN}.{host}")
        else:
            await store.replace(f"{DRAIN}.{host}", time.time_ns(), None)
        return True

    if not _ask(keys, write):
        raise fail(f"no member of the cluster is named {host!a:.80}; `aggregator cluster status` names them")
    said = "owns its share again" if undo else "drains; `aggregator cluster status` shows how far it is"
    click.echo(f"{host}: {said}")
