"""`aggregator ctl`: ask a running daemon, and have it change what it does."""

import json
import os
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Concatenate, ParamSpec

import click
import msgspec

from aggregator.cli import counted, fail
from aggregator.cli.completing import exchanges, topics
from aggregator.cli.table import print_rows
from aggregator.daemon.printable import printable
from aggregator.errors import AggregatorError

if TYPE_CHECKING:
    from aggregator.daemon.status import DaemonStatus, ExchangeStatus

P = ParamSpec("P")
NAME = "control.sock"
RUNTIME = Path(os.environ.get("RUNTIME_DIRECTORY", "/run/aggregator/daemon").split(":")[0])
ELSEWHERE = "One that keeps its state elsewhere is named by --config FILE"
PATIENCE_S = 60.0  # the daemon may be silent for so long
RELOAD_S = 600.0  # likewise while it applies another configuration, which may wait for listings
MOVE_S = 180.0  # likewise while an exchange moves from one worker to another
MOST_TROUBLED = 20  # topics that are shown without being asked for
MOST_SHOWN = 1000  # topics that are shown when they are asked for
OTHERS = ("subscribing", "syncing", "stalled", "suspect", "down", "absent")
MINUTE_S, HOUR_S, DAY_S = 60, 3600, 86_400


class NoAnswer(AggregatorError):
    """A daemon does not answer, or says that it cannot; the words say why."""


def with_daemon(command: Callable[Concatenate[Path, P], None]) -> Callable[P, None]:
    """Give a command the socket of the daemon that it is about."""
    kind = click.Path(path_type=Path)

    @click.option("--socket", type=kind, help="The daemon's control socket.")
    @click.option("--config", "-c", "config", type=kind, help="The daemon's configuration, which says where that is.")
    @wraps(command)
    def wrapper(*args: P.args, **others: P.kwargs) -> None:
        given, config = others.pop("socket"), others.pop("config")
        path = given if isinstance(given, Path) else _find(config if isinstance(config, Path) else None)
        try:
            command(path, *args, **others)
        except NoAnswer as error:
            *more, last = str(error).splitlines() or [""]
            for said in more:
                fail(said)
            raise fail(last) from None

    return wrapper


def _find(config: Path | None) -> Path:
    """The socket of a configuration, or else the first there is of the service's and the user's."""
    if config is not None:
        from aggregator.cli.run import read_config

        path = read_config(config).control
        if path is None:
            raise fail(f'{config}: control is "none": its daemon cannot be asked')
        return path
    from aggregator.config.config import default_state

    usual = [RUNTIME / NAME, default_state() / NAME]
    return next((path for path in usual if path.exists()), usual[0])


@click.group(name="ctl")
def command() -> None:
    """Ask a running daemon how it fares, and have it change what it does.

    Without --socket or --config it is the one of the service, or else of this user.
    """


@command.command(name="status")
@with_daemon
@click.option("--json", "as_json", is_flag=True, help="Everything, as one JSON object: docs/status.md describes it.")
@click.argument("topics", nargs=-1, shell_complete=topics)
def status(path: Path, as_json: bool, topics: tuple[str, ...]) -> None:
    """How a daemon fares: its exchanges, and the TOPICS that are asked for, or those that are in trouble.

    TOPICS are patterns as those of `tail`: channel:exchange:symbol, with * in any part.
    """
    asked = {"topics": topics, "most": MOST_SHOWN} if topics else {"only": "troubled", "most": MOST_TROUBLED}
    line = ask(path, {"op": "status", **asked})
    if as_json:
        _print_member(line, "status")
        return
    from aggregator.daemon.control import StatusReply

    try:
        found = msgspec.json.decode(line, type=StatusReply).status
    except msgspec.MsgspecError as error:
        raise fail(f"{path}: a daemon of another version answers ({error}); --json prints what it says") from None
    _show(found, asked_for=bool(topics))


@command.command(name="stacks")
@with_daemon
def stacks(path: Path) -> None:
    """Show what every thread and task of a daemon is at.

    SIGUSR2 has it written to its standard error, even where the daemon answers nobody any more.
    """
    for line in msgspec.json.decode(ask(path, {"op": "stacks"}))["stacks"]:
        click.echo(printable(line))


@command.command(name="rotate")
@with_daemon
def rotate(path: Path) -> None:
    """Have a daemon close its files and captures within a second, and begin new ones, as SIGUSR1 does."""
    done = msgspec.json.decode(ask(path, {"op": "rotate"}))
    click.echo(f"{counted(done['sinks'], 'sink')} of files, {counted(done['captures'], 'capture')}", err=True)


@command.command(name="reload")
@with_daemon
@click.option("--wait", is_flag=True, help="Until it is done: say what was different, or all that is wrong.")
def reload(path: Path, wait: bool) -> None:
    """Have a daemon read its configuration again, and apply what is different, as SIGHUP does.

    A configuration with any mistake changes nothing; with --wait every mistake is named, and the exit code is 1.
    """
    done = msgspec.json.decode(ask(path, {"op": "reload", "wait": wait}, patience=RELOAD_S))
    if not wait:
        click.echo("it is being read; the log says what comes of it", err=True)
        return
    for change in done["changes"] or ["nothing is different"]:
        click.echo(printable(change), err=True)


@command.command(name="pause")
@with_daemon
@click.argument("exchange", shell_complete=exchanges)
def pause(path: Path, exchange: str) -> None:
    """Hang up an exchange until `resume`, or until the daemon begins anew; each of its topics has a gap."""
    done = msgspec.json.decode(ask(path, {"op": "pause", "exchange": exchange}))
    click.echo(f"{exchange} is paused: {counted(done['topics'], 'topic')} with a gap", err=True)


@command.command(name="resume")
@with_daemon
@click.argument("exchange", shell_complete=exchanges)
def resume(path: Path, exchange: str) -> None:
    """Go on with an exchange that is paused."""
    ask(path, {"op": "resume", "exchange": exchange})
    click.echo(f"{exchange} goes on", err=True)


@command.command(name="subscribe")
@with_daemon
@click.argument("topic", shell_complete=topics)
def subscribe(path: Path, topic: str) -> None:
    """Follow a TOPIC whatever the configuration says, until it is unsubscribed, or the daemon begins anew.

    TOPIC is channel:exchange:symbol, with * in the channel and the symbol if wanted.
    """
    done = msgspec.json.decode(ask(path, {"op": "subscribe", "topic": topic}))
    click.echo(f"{counted(done['topics'], 'topic')} of this exchange are followed", err=True)


@command.command(name="unsubscribe")
@with_daemon
@click.argument("topic", shell_complete=topics)
def unsubscribe(path: Path, topic: str) -> None:
    """Do without a TOPIC whatever the configuration says, until it is subscribed, or the daemon begins anew."""
    done = msgspec.json.decode(ask(path, {"op": "unsubscribe", "topic": topic}))
    click.echo(f"{counted(done['topics'], 'topic')} of this exchange are followed", err=True)


@command.command(name="move")
@with_daemon
@click.argument("exchange", shell_complete=exchanges)
@click.argument("worker", type=click.IntRange(1), required=False)
def move(path: Path, exchange: str, worker: int | None) -> None:
    """Have another WORKER gather an exchange, without a gap: the one with the least load where none is named.

    It is gathered by both for some seconds: the second goes on once it has all that the first has. Of an exchange that
    is divided a part is moved, by its name, which ends like -0of2.
    """
    done = msgspec.json.decode(ask(path, {"op": "move", "exchange": exchange, "worker": worker}, patience=MOVE_S))
    click.echo(f"{exchange} is gathered by worker {done['worker']} now", err=True)


def ask(path: Path, request: dict[str, object], patience: float = PATIENCE_S) -> bytes:
    """A daemon's answer to a request, a line. Raises NoAnswer.

    patience: it may be silent for so many seconds
    """
    return next(ask_on(path, request, patience))


def ask_on(path: Path, request: dict[str, object], patience: float = PATIENCE_S) -> Iterator[bytes]:
    """The lines of a daemon's answer, as they come, up to the one that says that all is told. Raises NoAnswer.

    patience: it may be silent for so many seconds
    """
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.settimeout(patience)
            sock.connect(str(path))
            with suppress(ConnectionError):  # it has hung up, and what it said before tells why
                sock.sendall(json.dumps(request).encode() + b"\n")
            with sock.makefile("rb") as lines:
                is_over = False
                while not is_over:
                    line = lines.readline()
                    is_over = _judge(path, line)
                    yield line
    except OSError as error:
        raise NoAnswer(f"{path}: {error.strerror or error}; is a daemon running? {ELSEWHERE}") from None


def _judge(path: Path, line: bytes) -> bool:
    """Tell whether a line is the last of an answer. Raises NoAnswer where it is none."""
    if not line.endswith(b"\n"):
        raise NoAnswer(f"{path}: the daemon has hung up in the middle of its answer")
    try:
        answer = msgspec.json.decode(line, type=dict[str, msgspec.Raw])
    except msgspec.MsgspecError as error:
        raise NoAnswer(f"{path}: what answers there is no daemon: {error}") from None
    if "ok" not in answer:
        return False
    if bytes(answer["ok"]) != b"true":
        raise NoAnswer(str(msgspec.json.decode(answer.get("error", b'"it says no more"'))))
    return True


def _print_member(line: bytes, name: str) -> None:
    """Print one member of a JSON object, exactly as it came."""
    found = msgspec.json.decode(line, type=dict[str, msgspec.Raw])[name]
    sys.stdout.buffer.write(bytes(found) + b"\n")
    sys.stdout.buffer.flush()


# --- for a person -----------------------------------------------------------------------------------------------------


def _show(status: "DaemonStatus", *, asked_for: bool) -> None:
    process = status.process
    memory = "" if process.memory_bytes is None else f", {process.memory_bytes / 2**20:.0f} MiB"
    click.echo(
        f"aggregator {process.version}, process {process.pid}, up {_span(process.uptime_s)}{memory}; "
        f"{status.bus.offset} records, its loop at most {process.lag_max_ms:.0f} ms late"
    )
    click.echo()
    print_rows(
        ("exchange", "live", "quiet", "other", "gaps", "connections", "records/s", "last", "trouble"),
        [_exchange_row(exchange) for exchange in status.exchanges],
        {"trouble": 60},
        ("records/s", "gaps"),
    )
    for exchange in status.exchanges:
        for line in _of_followed(exchange):
            click.echo(printable(line))
    for resting in status.rest.resting:
        click.echo(printable(f"{resting.host} is left alone for {_span(resting.seconds)}: {resting.words}"))
    _show_sources(status)
    _show_sinks(status)
    _show_workers(status)
    if status.topics:
        click.echo()
        print_rows(
            ("topic", "state", "since", "last", "gap", "connection", "reason"),
            _topic_rows(status),
            {"reason": 60},
            ("gap", "since"),
        )
    elif asked_for:
        click.echo("\nno topic fits")
    if status.left_out:
        click.echo(f"and {counted(status.left_out, 'topic')} more")


def _show_workers(status: "DaemonStatus") -> None:
    if not status.workers:
        return
    click.echo()
    print_rows(
        ("worker", "process", "begun", "records", "processor s", "MiB", "late ms", "exchanges"),
        [
            [
                str(each.number),
                "begins" if each.pid is None else str(each.pid),
                str(each.begun),
                str(each.records),
                f"{each.cpu_s:.1f}",
                "" if each.memory_bytes is None else f"{each.memory_bytes / 2**20:.0f}",
                "" if each.lag_max_ms is None else f"{each.lag_max_ms:.0f}",
                " ".join(each.exchanges),
            ]
            for each in status.workers
        ],
        {"exchanges": 60},
        ("records", "processor s", "MiB", "late ms"),
    )
    for each in status.workers:
        if each.coming is not None:
            click.echo(printable(each.coming))


def _show_sources(status: "DaemonStatus") -> None:
    rows = [
        (
            source.name,
            source.state,
            str(source.topics.get("live", 0)),
            str(source.topics.get("quiet", 0)),
            str(sum(source.topics.values()) - source.topics.get("live", 0) - source.topics.get("quiet", 0)),
            str(source.gaps),
            _age(source.age_ms),
            (source.trouble or "") if source.state != "live" else source.left_out_for or "",
        )
        for source in status.sources
    ]
    if rows:
        click.echo()
        print_rows(("source", "state", "live", "quiet", "other", "gaps", "last", "trouble"), rows, {"trouble": 60})


def _show_sinks(status: "DaemonStatus") -> None:
    rows = [(sink.name, str(sink.held), str(sink.dropped), sink.failing or "") for sink in status.sinks]
    for feed in status.feeds:
        held, slow = sum(each.queued for each in feed.subscribers), [each for each in feed.subscribers if each.lags]
        said = counted(len(feed.subscribers), "subscriber")
        slow_said = f", {len(slow)} too slow" if slow else ""
        rows.append((f"feed {' '.join(feed.listen)}", str(held), str(feed.missed), f"{said}{slow_said}"))
    if rows:
        click.echo()
        print_rows(("sink", "waiting", "lost", ""), rows)


def _of_followed(exchange: "ExchangeStatus") -> list[str]:
    """Symbols of the configuration that bring nothing, and markets that wait."""
    followed = exchange.followed
    if followed is None:
        return []
    idle = [f"{exchange.id}: nothing is followed for {pattern}" for pattern in followed.idle]
    if exchange.demand is not None:
        said = ", ".join(f"{count} {state}" for state, count in exchange.demand.items()) or "nothing is asked for"
        idle.insert(0, f"{exchange.id} on demand: {said}")
    return [*idle, *(f"{exchange.id}: {counted(n, 'market')} {why}" for why, n in followed.waiting.items())]


def _exchange_row(exchange: "ExchangeStatus") -> Sequence[str]:
    states = exchange.topics
    lines = [line for shard in exchange.shards for line in shard.connections]
    is_open = sum(line.is_open for line in lines)
    troubles = [shard.trouble for shard in exchange.shards if shard.trouble and not _stands(shard.connections)]
    trouble = troubles[0] if troubles else exchange.trouble if exchange.state != "running" else None
    return (
        exchange.id,
        str(states.get("live", 0)),
        str(states.get("quiet", 0)),
        str(sum(states.get(state, 0) for state in OTHERS)),
        str(exchange.gaps),
        f"{is_open}/{len(lines)}" if exchange.state == "running" else exchange.state,
        f"{exchange.rate:.0f}",
        _age(exchange.age_ms),
        trouble or "",
    )


def _stands(connections: Sequence[object]) -> bool:
    return any(getattr(connection, "is_open", False) for connection in connections)


def _topic_rows(status: "DaemonStatus") -> list[Sequence[str]]:
    return [
        (
            f"{topic.channel}:{topic.exchange}:{topic.symbol or topic.raw_symbol or '*'}",
            topic.state if topic.demand in {None, topic.state} else f"{topic.state} ({topic.demand})",
            "" if topic.since is None else _span((status.ts - topic.since) / 1e9),
            _age(topic.age_ms),
            topic.gap or "",
            topic.conn or "",
            topic.reason or "",
        )
        for topic in status.topics
    ]


def _age(milliseconds: int | None) -> str:
    if milliseconds is None:
        return "never"
    return f"{milliseconds} ms" if milliseconds < 1000 else _span(milliseconds / 1000)


def _span(seconds: float) -> str:
    """A length of time as a person says it, in its two largest units."""
    whole = max(0, round(seconds))
    if whole < MINUTE_S:
        return f"{whole} s"
    if whole < HOUR_S:
        return f"{whole // MINUTE_S} min {whole % MINUTE_S} s"
    if whole < DAY_S:
        return f"{whole // HOUR_S} h {whole % HOUR_S // MINUTE_S} min"
    return f"{whole // DAY_S} d {whole % DAY_S // HOUR_S} h"
