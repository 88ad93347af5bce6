"""The rows of `aggregator cluster top`: what the servers of a cluster tell of shards and members."""

from collections.abc import Sequence
from typing import Any

from aggregator.cli.cluster_view import ClusterView
from aggregator.cli.top_rows import Cell, RateHistory, Sheet, objects, text


def cluster_sheets(view: ClusterView, shards: Sequence[str], rates: RateHistory) -> dict[str, Sheet]:
    """Both tables by name."""
    return {
        "shards": Sheet(
            ("shard", "owner", "since s", "records/s", "", "waiting", "lost", "standby", "ready", "behind"),
            [_shard(view, each, rates) for each in shards],
        ),
        "members": Sheet(
            (
                "member", "state", "configuration", "weight", "owns", "stands by for", "records/s", "cores", "MB",
                "late ms", "trouble",
            ),
            [_member(view, name) for name in view.members],
        ),
    }  # fmt: skip


def rates_of(view: ClusterView, shards: Sequence[str]) -> dict[str, float]:
    """Records a second of each shard, as its owner tells it."""
    shares = {each: view.share(view.owner(each), each) for each in shards}
    return {each: 0.0 if share is None or not share.is_owned else share.rate for each, share in shares.items()}


def head(view: ClusterView) -> str:
    """A line about all of it."""
    alive = sum(view.is_alive(name) for name in view.members)
    shared = f"revision {view.shared.revision}" if view.shared.text else "each member by its own file"
    return f"{alive} of {len(view.members)} members alive, {shared}"


def _shard(view: ClusterView, shard: str, rates: RateHistory) -> tuple[Cell, ...]:
    own, standbys, since = view.share(view.owner(shard), shard), view.standbys(shard), view.since(shard)
    return (
        text(shard),
        text(view.owner_in_words(shard)),
        "" if since is None else since,
        rates_of(view, [shard])[shard],
        rates.line(shard),
        0 if own is None else own.held,
        0 if own is None else own.overflowed,
        text(" ".join(standbys)),
        " ".join(f"{share.readiness:.0%}" for share in standbys.values()),
        max((view.behind(shard, name) for name in standbys), default=""),
    )


def _member(view: ClusterView, name: str) -> tuple[Cell, ...]:
    report, owned = view.members[name], view.owned(name)
    load = report.load
    return (
        text(name),
        view.state(name),
        text(view.revision(name)),
        report.member.weight,
        text(" ".join(owned)),
        text(" ".join(view.stood_by(name))),
        sum(share.rate for share in report.shares if share.is_owned),
        "" if load is None else load.cpu,
        "" if load is None or load.memory_bytes is None else load.memory_bytes // 1_000_000,
        "" if load is None else load.lag_ms,
        text("; ".join(filter(None, (report.refusal, *report.troubles)))),
    )


def as_json(view: ClusterView, shards: Sequence[str]) -> dict[str, Any]:
    """Both tables as objects by the names of their columns."""
    found = objects(cluster_sheets(view, shards, RateHistory()))
    return {"ts": view.ts, "revision": view.shared.revision, **found}
