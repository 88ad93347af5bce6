"""Keys at work in a whole daemon: the exchange sees them, and nothing that the daemon writes or says holds one."""

import asyncio
import json
import re
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import pytest
import zstandard
from aiohttp import WSMsgType, web
from click.testing import CliRunner

from aggregator.cli import group
from tests.daemon.test_daemon import PATIENCE, PROGRAM, ROOT, WORKERS, Running, running, until

pytestmark = pytest.mark.waits

KEY, SECRET = "AKIA0123456789", "a+very/secret-value-0123"
SECRETS = (KEY, SECRET, "a%2Bvery%2Fsecret", "a+very\\/secret")
WAYS = ("file", "env", "credential", "plain")
ASSETS = [{"symbol": "BTC/USD", "status": "active", "tradable": True, "price_increment": "0.01"}]
TRADE = [{"T": "t", "S": "BTC/USD", "p": 64001.5, "s": 0.5, "t": "2026-11-20T10:00:00.5Z", "i": 7, "tks": "B"}]


class Alpaca:
    """An exchange that wants keys for its list of markets and in the first frame, and repeats keys that it refuses."""

    def __init__(self) -> None:
        self.url = ""
        self.heard: list[dict[str, object]] = []
        self.listings = 0
        self.connections = 0
        self.takes_keys = True
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)

    async def _serve(self) -> None:
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        app = web.Application()
        app.router.add_get("/v2/assets", self.assets)
        app.router.add_get("/v1beta3/crypto/us", self.socket)
        site = web.AppRunner(app, shutdown_timeout=0.1)
        await site.setup()
        await web.TCPSite(site, "127.0.0.1", 0).start()
        self.url = f"127.0.0.1:{site.addresses[0][1]}"
        self._ready.set()
        await self._end.wait()
        await site.cleanup()

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(PATIENCE)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(PATIENCE)

    async def assets(self, request: web.Request) -> web.Response:
        self.listings += 1
        shown = request.headers.get("APCA-API-KEY-ID"), request.headers.get("APCA-API-SECRET-KEY")
        if shown != (KEY, SECRET):
            return web.json_response({"message": f"forbidden: {shown}"}, status=403)
        return web.json_response(ASSETS)

    async def socket(self, request: web.Request) -> web.WebSocketResponse:
        self.connections += 1
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_json([{"T": "success", "msg": "connected"}])
        async for message in socket:
            if message.type is not WSMsgType.TEXT:
                continue
            asked = json.loads(message.data)
            self.heard.append(asked)
            if asked["action"] == "auth" and self.takes_keys:
                await socket.send_json([{"T": "success", "msg": "authenticated"}])
            elif asked["action"] == "auth":
                await socket.send_json([{"T": "error", "code": 402, "msg": f"auth failed: {asked['secret']}"}])
            elif asked["action"] == "subscribe":
                await socket.send_json([{"T": "subscription", "trades": asked["trades"]}])
                await socket.send_json(TRADE)
        return socket


def named(way: str, directory: Path) -> tuple[str, dict[str, str]]:
    """The lines of a configuration that name the keys, and the environment that goes with them."""
    for name, value in (("alpaca-key", KEY), ("alpaca-secret", SECRET)):
        path = directory / name
        path.write_text(value + "\n")
        path.chmod(0o600)
    key, secret, environment = {
        "file": (f"file:{directory}/alpaca-key", f"file:{directory}/alpaca-secret", {}),
        "env": ("env:ALPACA_KEY", "env:ALPACA_SECRET", {"ALPACA_KEY": KEY, "ALPACA_SECRET": SECRET}),
        "credential": ("credential:alpaca-key", "credential:alpaca-secret", {"CREDENTIALS_DIRECTORY": str(directory)}),
        "plain": (f"plain:{KEY}", f"plain:{SECRET}", {}),
    }[way]
    return f'credentials = {{ key = "{key}", secret = "{secret}" }}', environment


def configure(directory: Path, exchange: Alpaca, credentials: str) -> Path:
    path = directory / "site.toml"
    path.write_text(f"""
state = "{directory}/state"
workers = {WORKERS}
log_level = "debug"
[[exchanges]]
id = "alpaca"
channels = ["trades"]
symbols = ["*"]
{credentials}
[exchanges.endpoints]
"wss://stream.data.alpaca.markets" = "ws://{exchange.url}"
"https://api.alpaca.markets" = "http://{exchange.url}"
[[sinks]]
type = "stdout"
[[sinks]]
type = "files"
path = "{directory}/data"
[feed]
listen = ["unix:{directory}/feed.sock"]
""")
    path.chmod(0o600)
    return path


@contextmanager
def capturing(config: Path, out: Path, environment: Mapping[str, str] = {}) -> Iterator[Running]:
    daemon = Running(config, command="capture", options=["--out", str(out)], read=True, **environment)
    try:
        yield daemon
    finally:
        daemon.finish()
    assert "Traceback" not in daemon.log, daemon.log


def run(*words: str, **environment: str) -> str:
    """All that a command says."""
    return CliRunner().invoke(group, words, env=environment, catch_exceptions=False).output


def replay(capture: Path) -> str:
    """All that the command says, whose records go to standard output as it was when the process began."""
    command = [*PROGRAM, "replay", str(capture)]
    done = subprocess.run(command, capture_output=True, cwd=ROOT, timeout=PATIENCE, check=False)
    return (done.stdout + done.stderr).decode()


def contents(directory: Path) -> str:
    """All that stands in the files of a directory, unpacked."""
    found = []
    for path in sorted(path for path in directory.rglob("*") if path.is_file()):
        blob = path.read_bytes()
        if path.suffix == ".zst":
            blob = zstandard.ZstdDecompressor().stream_reader(blob, read_across_frames=True).read()
        found.append(f"{path.name}: {blob.decode(errors='replace')}")
    assert found
    return "\n".join(found)


def feed_of(directory: Path) -> str:
    """What a new subscriber is told, to the first record and what comes with it."""
    with socket.socket(socket.AF_UNIX) as subscriber:
        subscriber.settimeout(PATIENCE)
        subscriber.connect(str(directory / "feed.sock"))
        subscriber.sendall(b"*:*:*\n")
        said = b""
        while b'"exchange":"alpaca"' not in said:
            said += subscriber.recv(1 << 16) or b'no record, "exchange":"alpaca"'
    return said.decode()


@pytest.mark.parametrize("way", WAYS)
def test_a_key_from_anywhere_is_seen_by_the_exchange_alone(tmp_path: Path, way: str) -> None:
    short = tmp_path / "d"
    short.mkdir()
    credentials, environment = named(way, tmp_path)
    with Alpaca() as exchange:
        config = configure(short, exchange, credentials)
        checked = run("check", str(config), **environment)
        with capturing(config, short / "captures", environment) as daemon:
            until(lambda: daemon.has({("alpaca", "trade")}), what=daemon.log)
            asked = run("ctl", "status", "--json", "--config", str(config), **environment)
            asked += run("ctl", "status", "--config", str(config), "*:*:*", **environment)
            asked += run("ctl", "stacks", "--config", str(config), **environment)
            fed = feed_of(short)
            daemon.process.send_signal(signal.SIGUSR2)  # what every task is at goes to the log
            until(lambda: "_sweep" in daemon.log, what="the stacks")
            assert daemon.signal(signal.SIGTERM) == 0
        (capture,) = (short / "captures").iterdir()
        replayed = replay(capture)
        assert exchange.heard[0] == {"action": "auth", "key": KEY, "secret": SECRET}
        assert exchange.heard[1] == {"action": "subscribe", "trades": ["BTC/USD"]}
    assert "no mistake" in checked
    captured = contents(short / "captures")
    assert re.search(r'"dir":"out".*"raw":"\{\\"action\\":\\"auth\\"\}"', captured)
    assert re.search(r'"type":"trade".*"id":"7"', replayed)
    assert '"exchange":"alpaca"' in fed
    assert "no record" not in fed
    told = f"{checked}{daemon.log}{daemon.out.decode()}{asked}{fed}{captured}{replayed}"
    told += contents(short / "state") + contents(short / "data")
    assert [secret for secret in SECRETS if secret in told] == []


def test_keys_that_the_stream_refuses_and_repeats_are_told_without_them(tmp_path: Path) -> None:
    credentials, _ = named("file", tmp_path)
    with Alpaca() as exchange:
        exchange.takes_keys = False
        config = configure(tmp_path, exchange, credentials)
        with capturing(config, tmp_path / "captures") as daemon:
            until(lambda: "refuses the keys: 402: auth failed" in daemon.log, what="a word about the keys")
            asked = run("ctl", "status", "--config", str(config), "*:*:*")
            assert daemon.signal(signal.SIGTERM) == 0
        assert exchange.connections == 1
    assert "402: auth failed: ***; they are read and shown again in 60 s, see https://app.alpaca.markets/" in daemon.log
    assert "refuses the keys" in asked
    told = daemon.log + daemon.out.decode() + asked + contents(tmp_path / "captures") + contents(tmp_path / "state")
    assert [secret for secret in SECRETS if secret in told] == []


def test_keys_that_are_refused_by_rest_and_repeated_are_told_without_them(tmp_path: Path) -> None:
    credentials, _ = named("file", tmp_path)
    (tmp_path / "alpaca-secret").write_text("another+wrong/secret-value")
    with Alpaca() as exchange:
        config = configure(tmp_path, exchange, credentials)
        with capturing(config, tmp_path / "captures") as daemon:
            until(lambda: "again in 5" in daemon.log, what="the second attempt")  # which asks nothing
            asked = run("ctl", "status", "--json", "--config", str(config))
            assert daemon.signal(signal.SIGTERM) == 0
        assert exchange.listings == 1
    assert "the exchange refuses the keys: HTTP 403: " in daemon.log
    assert "forbidden" in asked
    told = daemon.log + daemon.out.decode() + asked + contents(tmp_path / "captures")
    assert [secret for secret in (*SECRETS, "another+wrong/secret-value") if secret in told] == []


def test_an_exchange_without_keys_says_what_it_needs_and_stops_no_other(tmp_path: Path) -> None:
    with Alpaca() as exchange:
        config = configure(tmp_path, exchange, "")
        checked = run("check", str(config))
        with running(config) as daemon:
            until(lambda: "wants to see keys" in daemon.log, what="a word about the keys")
            asked = run("ctl", "status", "--config", str(config))
            assert daemon.signal(signal.SIGTERM) == 0
        assert (exchange.listings, exchange.connections) == (0, 0)
    assert daemon.log.count("wants to see keys of an account") == 1
    assert "key (API Key ID), secret (API Secret Key), from https://app.alpaca.markets/" in daemon.log
    assert "alpaca" in asked
    assert f"{config}: warning: alpaca wants to see keys of an account of yours: key (API Key ID)" in checked


def test_a_key_that_is_none_is_named_by_check_with_its_place(tmp_path: Path) -> None:
    credentials, _ = named("file", tmp_path)
    (tmp_path / "alpaca-secret").write_text("INJECTED\r\nX-Header: 1")
    (tmp_path / "alpaca-key").chmod(0o644)
    with Alpaca() as exchange:
        config = configure(tmp_path, exchange, credentials)
        said = run("check", str(config))
        (tmp_path / "alpaca-secret").write_text(SECRET)
        warned = run("check", str(config))
    assert said.startswith(f"{config}: alpaca: credentials.secret: the file {tmp_path}/alpaca-secret holds control ")
    assert "INJECTED" not in said
    assert f"warning: alpaca: credentials.key: the file {tmp_path}/alpaca-key can be read by everybody" in warned


def test_the_list_of_markets_is_asked_for_with_the_keys_of_a_configuration(tmp_path: Path) -> None:
    credentials, _ = named("file", tmp_path)
    with Alpaca() as exchange:
        listed = run("symbols", "alpaca", "--config", str(configure(tmp_path, exchange, credentials)))
        without = run("symbols", "alpaca")
        path = tmp_path / "alpaca-secret"
        path.write_text("another+wrong/secret-value")
        refused = run("symbols", "alpaca", "--config", str(tmp_path / "site.toml"))
        path.unlink()
        missing = run("symbols", "alpaca", "--config", str(tmp_path / "site.toml"))
    assert "BTC/USD\tBTC/USD\tspot" in listed
    assert "alpaca wants to see keys of an account of yours: key (API Key ID), secret (API Secret Key)" in without
    assert "HTTP 403" in refused
    assert f"alpaca: credentials.secret: the file {path} cannot be read: No such file or directory" in missing
    told = listed + without + refused + missing
    assert [secret for secret in (*SECRETS, "another+wrong/secret-value") if secret in told] == []
