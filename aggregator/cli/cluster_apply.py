"""`aggregator cluster apply` and `history`: the configuration that all members share."""

import asyncio
import getpass
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec
from msgspec import Struct, structs

from aggregator.catalog.registry import known_channels, known_keys
from aggregator.cli import EXIT_CONFIG, counted, fail
from aggregator.cli.cluster_view import (
    ANSWER_S,
    CONFIG,
    ClusterView,
    ClusterWatch,
    ask_servers,
    in_force,
    read_member,
    view_of,
)
from aggregator.cli.run import saying_mistakes
from aggregator.cli.table import print_rows
from aggregator.cluster.ranking import line_of
from aggregator.cluster.shared import MOST_BYTES, SharedConfig, written
from aggregator.cluster.store import ClusterStore, Replaced
from aggregator.config.config import Config, load_config, read_shared_file, shared_file
from aggregator.config.parts import ConfigFile
from aggregator.config.shared import ALIKE
from aggregator.daemon.printable import printable
from aggregator.records import SECOND_NS

LOOK_S = 0.2
BEFORE = 0  # stands for the revision before the newest, as no revision has this number


class Outcome(Struct, frozen=True, kw_only=True):
    """The word of the members about a revision.

    revision: its number
    took: those that go by it
    refused: those that cannot, and why
    waiting: those that gather an exchange by the one before, until it is their turn to begin it anew
    silent: those that have said neither
    away: those of which nothing has been heard for longer than a lease lasts, as they are stopped, dead or cut off
    restored: the number of the revision by which it was taken back; 0: it was not
    later: the number of a revision that somebody else has put since; 0: there is none
    """

    revision: int
    took: list[str]
    refused: dict[str, str]
    waiting: list[str]
    silent: list[str]
    away: list[str]
    restored: int = 0
    later: int = 0


@click.command(name="apply")
@CONFIG
@click.option(
    "--rollback",
    type=click.IntRange(min=0),
    is_flag=False,
    flag_value=BEFORE,
    metavar="[REVISION]",
    help="Put an older revision again, the one before the newest unless it is named.",
)
@click.option("--dry-run", is_flag=True, help="Judge it, and say what would be different.")
@click.option(
    "--wait",
    type=click.FloatRange(1, 3600),
    default=60.0,
    show_default=True,
    help="Seconds in which members are to take it.",
)
@click.argument("file", type=click.Path(path_type=Path), required=False)
def apply(config: Path, rollback: int | None, dry_run: bool, wait: float, file: Path | None) -> None:
    """Have all members go by the exchanges of FILE.

    FILE has [[exchanges]], and `needs` and `buckets` of [cluster]; all else is each host's own, and so are keys and
    proxies. It is judged whole before it is put. Where a member that runs cannot go by it, it is taken back on all, and
    that member says why.
    """
    if (file is None) == (rollback is None):
        raise click.UsageError("name a FILE, or --rollback")
    found, keys = read_member(config)
    revisions, last, view = ask_servers(keys, _as_it_stands)
    newest = revisions[-1] if revisions else SharedConfig()
    if file is not None:
        with saying_mistakes():
            held = read_shared_file(file)
            after = _judged(config, held)
        wanted = SharedConfig(text=written(held.values))
    else:
        older = _older(revisions, rollback or BEFORE)
        with saying_mistakes():
            after = _judged(config, shared_file(older)) if older.text else found
        wanted = SharedConfig(text=older.text, origin=older.revision)
    if len(wanted.text.encode()) > MOST_BYTES:
        raise fail(f"it takes more than the {MOST_BYTES} bytes that a message may have", EXIT_CONFIG)
    for words in _differences(in_force(config, found, newest), after):
        click.echo(words)
    for words in _unmet(after, view):
        click.echo(words)
    if dry_run:
        return
    put = structs.replace(wanted, ts=time.time_ns(), by=_whoever())
    outcome = ask_servers(keys, lambda store: _put(store, put, newest, last, wait), patience=2 * (wait + ANSWER_S))
    if outcome is None:
        raise fail("somebody else has put a revision meanwhile: look at `aggregator cluster history`, and try again")
    _say(outcome, newest, wait)


async def _as_it_stands(store: ClusterStore) -> tuple[list[SharedConfig], int, ClusterView]:
    """The revisions that are kept, the number of the last, and the cluster."""
    return *await store.revisions(), await view_of(store)


def _judged(config: Path, held: ConfigFile) -> Config:
    """The configuration of a member that goes by it. Raises ConfigErrors with all that is wrong."""
    return load_config(config, known_channels=known_channels, known_keys=known_keys, shared=held)


def _older(revisions: Sequence[SharedConfig], number: int) -> SharedConfig:
    """An older revision, or leave."""
    if number == BEFORE and len(revisions) == 1:
        return SharedConfig()  # before the first, members went by their own files
    if number == BEFORE and len(revisions) > 1:
        return revisions[-2]
    found = next((each for each in revisions if each.revision == number), None)
    if found is None:
        kept = ", ".join(str(each.revision) for each in revisions) or "none has been put yet"
        raise fail(f"there is no revision {number}" if number != BEFORE else f"there is none to go back to: {kept}")
    return found


def _differences(before: Config, after: Config) -> Iterator[str]:
    """Tell in words what is different for a member."""
    from aggregator.daemon.running_exchanges import changed_keys

    old, new = ({each.id: each for each in some.exchanges} for some in (before, after))
    for id, wanted in new.items():
        if id not in old:
            yield f"{id}: new"
        elif old[id] != wanted:
            yield f"{id}: other {', '.join(changed_keys(old[id], wanted))}"
    yield from (f"{id}: gone" for id in old if id not in new)
    for key in ALIKE if before.cluster and after.cluster else ():
        if (getattr(before.cluster, key) or {}) != (getattr(after.cluster, key) or {}):
            yield f"other {key} of members"


def _unmet(after: Config, view: ClusterView) -> Iterator[str]:
    """Tell in words which exchanges no member that is known may own, be it silent now."""
    known = [structs.replace(report.member, is_draining=False) for report in view.members.values()]
    needs = {} if after.cluster is None or not known else after.cluster.needs or {}
    for id, labels in needs.items():
        if not line_of(id, known, labels):
            yield f"{id}: needs {', '.join(labels)}, and no member has that: nobody owns it until one does"


def _whoever() -> str:
    """The user and the host that put a revision."""
    user = "?"
    with suppress(KeyError, OSError):  # a process may have a number that no user has
        user = getpass.getuser()
    return f"{user}@{socket.gethostname()}"


async def _put(store: ClusterStore, put: SharedConfig, newest: SharedConfig, last: int, wait: float) -> Outcome | None:
    """Put a revision, and wait for the members; taken back where one cannot go by it. Null: somebody was faster."""
    if put.text == newest.text and newest.revision:
        return await _heard(store, newest.revision, wait)
    try:
        number = await store.share(put, last)
    except Replaced:
        return None
    outcome = await _heard(store, number, wait)
    if not outcome.refused:
        return outcome
    back = structs.replace(newest, origin=newest.revision, ts=time.time_ns(), by=put.by)
    try:
        restored = await store.share(back, number)
    except Replaced:  # somebody else has put another one
        return outcome
    await _heard(store, restored, wait)
    return structs.replace(outcome, restored=restored)


async def _heard(store: ClusterStore, number: int, wait: float) -> Outcome:
    """Wait until each member that is alive goes by a revision, or one says that it cannot, or there is a later one."""
    watch = ClusterWatch(store)
    await watch.begin()
    following = asyncio.create_task(watch.follow())
    outcome = _outcome(watch.view(), number)
    try:
        with suppress(TimeoutError):
            async with asyncio.timeout(wait):
                while (outcome.silent or outcome.waiting) and not (outcome.refused or outcome.later):
                    if following.done():
                        following.result()
                    await asyncio.sleep(LOOK_S)
                    outcome = _outcome(watch.view(), number)
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
    return outcome


def _outcome(view: ClusterView, number: int) -> Outcome:
    alive = {name: report for name, report in view.members.items() if view.is_alive(name)}
    refused = {name: report.refusal for name, report in alive.items() if report.refused == number}
    going = {name: any(share.is_old for share in r.shares) for name, r in alive.items() if r.revision == number}
    took = [name for name, is_waiting in going.items() if not is_waiting and name not in refused]
    return Outcome(
        revision=number,
        took=took,
        refused=refused,
        waiting=[name for name, is_waiting in going.items() if is_waiting and name not in refused],
        silent=[name for name in alive if name not in going and name not in refused],
        away=[name for name, report in view.members.items() if name not in alive and report.revision != number],
        later=view.shared.revision if view.shared.revision > number else 0,
    )


def _say(outcome: Outcome, newest: SharedConfig, wait: float) -> None:
    """Say what came of it, and leave with an error where not all is well."""
    number = outcome.revision
    for name, why in outcome.refused.items():
        for line in why.splitlines():
            click.echo(printable(f"{name}: {line}"), err=True)
    if outcome.refused:
        names = ", ".join(outcome.refused)
        said = f"revision {outcome.restored} is as before" if outcome.restored else "somebody else has put another one"
        raise fail(f"{names} cannot go by revision {number}, and so nothing is changed: {said}", EXIT_CONFIG)
    if outcome.later:
        look = "look at `aggregator cluster history`"
        raise fail(f"revision {number} is put, and somebody else has put {outcome.later} since, which counts: {look}")
    is_same = number == newest.revision
    click.echo(printable(f"revision {number}{' is this already' if is_same else ''}: {_by(outcome)}"))
    for name in outcome.away:
        click.echo(printable(f"{name} is silent, and takes it when it comes back"))
    if outcome.silent:
        names = ", ".join(outcome.silent)
        raise fail(f"{names} said nothing of it within {wait:.0f} s; `aggregator cluster status` shows who goes by it")
    for name in outcome.waiting:
        click.echo(printable(f"{name} goes by it, and has yet to begin anew what it gathers: it waits for its turn"))


def _by(outcome: Outcome) -> str:
    going = outcome.took + outcome.waiting
    if not going and not outcome.silent:
        return "no member runs; each takes it when it begins"
    count = len(going)
    return f"{counted(count, 'member')} of {count + len(outcome.silent)}: {', '.join(sorted(going))}"


@click.command(name="history")
@CONFIG
@click.option("--json", "is_json", is_flag=True, help="As JSON, one object a line.")
@click.argument("revision", type=click.IntRange(min=1), required=False)
def history(config: Path, is_json: bool, revision: int | None) -> None:
    """List the revisions of the configuration that members share, the newest first; or print REVISION.

    The servers keep the last 64.
    """
    _, keys = read_member(config)
    revisions, _ = ask_servers(keys, lambda store: store.revisions())
    if revision is not None:
        shared = _older(revisions, revision)
        lines = [msgspec.json.encode(shared).decode()] if is_json else map(printable, shared.text.splitlines())
        click.echo("\n".join(lines))
        return
    if is_json:
        for each in reversed(revisions):
            click.echo(msgspec.json.encode(each).decode())
        return
    rows = [
        (str(each.revision), _when(each.ts), each.by, _repeats(each), str(each.text.count("[[exchanges]]")))
        for each in reversed(revisions)
    ]
    print_rows(("revision", "put", "by", "repeats", "exchanges"), rows)


def _when(ts: int) -> str:
    return datetime.fromtimestamp(ts // SECOND_NS, UTC).strftime("%Y-%m-%d %H:%M:%SZ") if ts else ""


def _repeats(shared: SharedConfig) -> str:
    if shared.origin:
        return str(shared.origin)
    return "" if shared.text else "none: each goes by its own file"
