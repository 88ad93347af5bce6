"""`aggregator doctor`: whether this machine can do what a configuration asks of it, and what to do where it cannot."""

import asyncio
import os
import resource
import shutil
import socket
import ssl
import time
from collections.abc import AsyncIterator, Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import urlsplit

import click
from msgspec import Struct

from aggregator.cli import EXIT_ERROR
from aggregator.cli.run import read_config, with_config
from aggregator.cli.table import print_rows
from aggregator.config.config import Config, ExchangeConfig

PATIENCE_S = 10.0  # an address has so long to answer
LEAST_FILES = 1024  # descriptors that a daemon may need
A_CONNECTION = 4  # descriptors that one may take, with those of its sinks
LEAST_BYTES = 2**30  # free on a disk that is written to
MOST_AT_ONCE = 8  # exchanges that are asked at once
LATE_S = 1.0  # a clock that is further from others is wrong
NEAR_THE_END_S = 14 * 86_400  # a certificate that ends so soon is told
PORTS = {"https": 443, "wss": 443, "http": 80, "ws": 80}


class Finding(Struct, frozen=True):
    """One thing that was looked at.

    about: an exchange, or a part of this machine
    what: what was looked at
    verdict: `fine`, `doubtful` or `bad`
    said: what was found
    advice: what to do; empty where there is nothing to do
    """

    about: str
    what: str
    verdict: str
    said: str
    advice: str = ""


@click.command(name="doctor")
@with_config
@click.option("--offline", is_flag=True, help="Ask no exchange: look at this machine alone.")
def command(path: Path, offline: bool) -> None:
    """Look whether this machine can do what a configuration asks of it: names, TLS, the clock, disks and limits.

    Each configured exchange is asked once by HTTP and its WebSocket is connected to, through no proxy. It ends with 1
    where something is bad.
    """
    config = read_config(path)
    findings = [*_machine(config), *([] if offline else asyncio.run(_ask_all(config)))]
    print_rows(
        ("about", "what", "verdict", "found", "what to do"),
        [(each.about, each.what, each.verdict, each.said, each.advice) for each in findings],
        {"found": 50, "what to do": 50},
    )
    bad = sum(each.verdict == "bad" for each in findings)
    if bad:
        click.echo(f"{bad} of {len(findings)} are bad", err=True)
        raise click.exceptions.Exit(EXIT_ERROR)


# --- this machine -----------------------------------------------------------------------------------------------------


def _machine(config: Config) -> Iterator[Finding]:
    yield _files(config)
    for place in _places(config):
        yield from _disk(place)


def _files(config: Config) -> Finding:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    clients = sum(int(getattr(sink.settings, "max_clients", 0)) for sink in config.sinks)
    wanted = LEAST_FILES + clients + A_CONNECTION * len(config.exchanges)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return Finding("machine", "open files", "fine", f"{soft} are allowed, {wanted} may be needed")
    advice = f"LimitNOFILE={wanted} in the service's unit, or ulimit -n {min(wanted, hard)}"
    return Finding("machine", "open files", "bad", f"{soft} are allowed, and {wanted} may be needed", advice)


def _places(config: Config) -> list[Path]:
    """The directories that are written to."""
    found = [config.state]
    for sink in config.sinks:
        path = getattr(sink.settings, "path", None)
        if isinstance(path, str | Path):
            found.append(Path(path))
    return list(dict.fromkeys(found))


def _disk(place: Path) -> Iterator[Finding]:
    there = next((each for each in (place, *place.absolute().parents) if each.exists()), Path("/"))
    if not os.access(there, os.W_OK | os.X_OK):
        user = os.geteuid()
        yield Finding(str(place), "disk", "bad", f"user {user} may not write to {there}", f"chown {user} {there}")
        return
    try:
        usage = shutil.disk_usage(there)
        inodes = os.statvfs(there)
    except OSError as error:
        yield Finding(str(place), "disk", "bad", str(error.strerror), "look at the disk")
        return
    verdict = "fine" if usage.free >= LEAST_BYTES else "doubtful" if usage.free > LEAST_BYTES // 10 else "bad"
    advice = "" if verdict == "fine" else "make room, or let the sink keep less (`keep_days`, `keep_bytes`)"
    yield Finding(str(place), "disk", verdict, f"{usage.free / 2**30:.1f} GiB are free", advice)
    if inodes.f_files and inodes.f_favail < 1000:
        yield Finding(str(place), "files of the disk", "bad", f"{inodes.f_favail} more fit", "remove small files")


# --- exchanges --------------------------------------------------------------------------------------------------------


async def _ask_all(config: Config) -> list[Finding]:
    """Ask every exchange, some at once."""
    free = asyncio.Semaphore(MOST_AT_ONCE)

    async def ask(exchange: ExchangeConfig) -> list[Finding]:
        async with free:
            return [each async for each in _ask(exchange)]

    return [each for found in await asyncio.gather(*map(ask, config.exchanges)) for each in found]


async def _ask(config: ExchangeConfig) -> AsyncIterator[Finding]:
    """Reach each host that an exchange is spoken to at."""
    from aggregator.catalog.registry import load_exchange
    from aggregator.ingest.network import redirect

    exchange = load_exchange(config.id)
    if exchange is None:
        return
    urls = [stream.url for stream in exchange.streams if isinstance(stream.url, str) and stream.url]
    urls += [request.url for request in exchange.listing.all_requests]
    hosts = dict.fromkeys(
        (parts.scheme, parts.hostname or "", parts.port or PORTS.get(parts.scheme, 443))
        for parts in (urlsplit(redirect(url, config.endpoints)) for url in urls)
    )
    for scheme, host, port in hosts:
        async for found in _reach(config.id, scheme, host, port):
            yield found


async def _reach(id: str, scheme: str, host: str, port: int) -> AsyncIterator[Finding]:
    """Look a name up, connect, and begin TLS; then ask for the time."""
    place, loop = f"{host}:{port}", asyncio.get_running_loop()
    try:
        async with asyncio.timeout(PATIENCE_S):
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, TimeoutError) as error:
        advice = "look at /etc/resolv.conf and the name server; a proxy with socks5 looks names up itself"
        yield Finding(id, f"name {host}", "bad", _said(error), advice)
        return
    yield Finding(id, f"name {host}", "fine", ", ".join(dict.fromkeys(str(each[4][0]) for each in found))[:80])
    is_secure, begun = scheme in {"https", "wss"}, time.monotonic()
    try:
        async with asyncio.timeout(PATIENCE_S):
            context = ssl.create_default_context() if is_secure else None
            reader, writer = await asyncio.open_connection(host, port, ssl=context)
    except ssl.SSLError as error:
        advice = "look at the clock, at the package ca-certificates, and whether something stands between"
        yield Finding(id, f"TLS {place}", "bad", _said(error), advice)
        return
    except (OSError, TimeoutError) as error:
        yield Finding(
            id, f"reach {place}", "bad", _said(error), "look at the firewall; the exchange may refuse this address"
        )
        return
    took = (time.monotonic() - begun) * 1000
    try:
        yield Finding(id, f"reach {place}", "fine", f"{'TLS' if is_secure else 'connected'} within {took:.0f} ms")
        if is_secure:
            for each in _certificate(id, place, writer):
                yield each
        async for each in _clock(id, host, reader, writer):
            yield each
    finally:
        writer.close()


def _certificate(id: str, place: str, writer: asyncio.StreamWriter) -> Iterator[Finding]:
    shown = writer.get_extra_info("peercert") or {}
    until = shown.get("notAfter")
    left = ssl.cert_time_to_seconds(until) - time.time() if until else NEAR_THE_END_S
    if left < NEAR_THE_END_S:
        yield Finding(id, f"certificate {place}", "doubtful", f"it ends {until}", "the exchange has to renew it")


async def _clock(
    id: str, host: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> AsyncIterator[Finding]:
    """Compare this machine's clock with the time that the exchange's server tells, of whole seconds."""
    try:
        async with asyncio.timeout(PATIENCE_S):
            writer.write(
                f"HEAD / HTTP/1.1\r\nHost: {host}\r\nUser-Agent: aggregator\r\nConnection: close\r\n\r\n".encode()
            )
            sent = time.time()
            head = await reader.readuntil(b"\r\n\r\n")
    except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
        yield Finding(
            id, f"HTTP {host}", "doubtful", f"no answer: {_said(error)}", "try again; it may refuse this address"
        )
        return
    now = time.time()
    dates = [line.partition(b":")[2] for line in head.split(b"\r\n") if line.lower().startswith(b"date:")]
    if not dates:
        return
    try:
        told = parsedate_to_datetime(dates[0].decode("ascii", "replace").strip()).timestamp()
    except ValueError:
        return
    off = max(sent - (told + 1), told - now, 0.0) * (1 if now > told else -1)  # it is cut to seconds, and took its time
    if abs(off) > LATE_S:
        advice = "let systemd-timesyncd or chrony set the clock: `timedatectl set-ntp true`"
        yield Finding("machine", f"clock ({host})", "bad", f"{off:+.1f} s from the exchange's", advice)
    else:
        yield Finding("machine", f"clock ({host})", "fine", "no second from the exchange's")


def _said(error: BaseException) -> str:
    if isinstance(error, TimeoutError) and not str(error):
        return f"nothing within {PATIENCE_S:.0f} s"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
