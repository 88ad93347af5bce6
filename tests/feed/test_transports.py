"""The places where subscribers connect: socket files and their rights, ports, addresses."""

import asyncio
import grp
import json
import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from aggregator.bus.bus import Bus
from aggregator.errors import ConfigError
from aggregator.feed.address import Address, TcpAddress, UnixAddress, parse_address
from aggregator.feed.server import FeedServer
from aggregator.feed.settings import FeedSettings
from tests.feed.test_feed import PATIENCE, TRANSPORTS, Spot, eventually, peer, serving, trade

pytestmark = pytest.mark.waits


def unix(path: Path, **others: object) -> FeedServer:
    return FeedServer(FeedSettings(listen=(UnixAddress(path),), **others), Bus("epoch"))  # type: ignore[arg-type]


@pytest.fixture
def spot(tmp_path: Path) -> Spot:
    return Spot("unix", tmp_path)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "feed.sock"


# --- addresses


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("unix:/run/feed.sock", UnixAddress(Path("/run/feed.sock"))),
        ("unix:feed:1.sock", UnixAddress(Path("feed:1.sock"))),
        ("tcp:127.0.0.1:8790", TcpAddress("127.0.0.1", 8790)),
        ("tcp:[::1]:8790", TcpAddress("::1", 8790)),
        ("tcp:localhost:1", TcpAddress("localhost", 1)),
    ],
)
def test_addresses(text: str, address: Address) -> None:
    assert parse_address(text) == address
    assert str(parse_address(text)) == text


@pytest.mark.parametrize(
    "text",
    ["", "/run/feed.sock", "unix:", "udp:a:1", "unix:a\0b", "tcp:", "tcp:8790", "tcp:a:b:1", "tcp:a:70000", "tcp::1",
     "tcp:[a]:1", "tcp:a:1x", "tcp: :1", "tcp:a:٣"],
)  # fmt: skip
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ValueError, match=r"write .(unix|tcp):"):
        parse_address(text)


# --- ports


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "feed.example.com", "::ffff:10.0.0.1"])
async def test_an_address_that_others_can_reach_is_refused(host: str) -> None:
    address = TcpAddress(host, 0)
    assert not address.is_loopback
    with pytest.raises(ConfigError, match="is refused: other machines could reach it, and there is no TLS"):
        await FeedServer(FeedSettings(listen=(address,)), Bus("epoch")).start()


async def test_a_port_that_is_taken() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        address = TcpAddress("127.0.0.1", other.getsockname()[1])
        with pytest.raises(ConfigError, match=rf"feed: cannot listen at {address}: Address already in use"):
            await FeedServer(FeedSettings(listen=(address,)), Bus("epoch")).start()


async def test_of_two_addresses_with_one_bad_none_is_had(path: Path) -> None:
    server = FeedServer(FeedSettings(listen=(UnixAddress(path), TcpAddress("0.0.0.0", 0))), Bus("epoch"))
    with pytest.raises(ConfigError, match="is refused"):
        await server.start()
    assert not path.exists()


async def test_a_port_can_be_had_again_at_once(tmp_path: Path) -> None:
    spot = Spot("tcp", tmp_path)
    for _ in range(3):
        async with serving(spot), peer(spot) as client:
            assert (await client.row())["type"] == "hello"


async def test_one_feed_at_several_places(tmp_path: Path) -> None:
    spots = [Spot(transport, tmp_path) for transport in TRANSPORTS]
    bus = Bus("epoch")
    server = FeedServer(FeedSettings(listen=tuple(spot.address for spot in spots)), bus)
    await server.start()
    bus.attach(server.publish)
    for spot, address in zip(spots, server.addresses, strict=True):
        spot.address = parse_address(address)
    async with peer(spots[0]) as first, peer(spots[1]) as second:
        for client in (first, second):
            await client.row()
            await client.ask("trades:*:*")
        bus.publish([trade()])
        assert await first.line() == await second.line()
        status = server.status()
        assert [each.peer.partition(":")[0] for each in status.subscribers] == ["unix", "tcp"]
        assert (status.accepted, status.turned_away, status.topics) == (2, 0, 1)
    await server.stop(0)


# --- socket files


async def test_the_socket_has_its_rights_and_is_removed(path: Path) -> None:
    group = grp.getgrgid(os.getgid()).gr_name
    for mode in (0o660, 0o600):
        server = unix(path, mode=mode, group=group)
        await server.start()
        assert path.stat().st_mode & 0o777 == mode
        assert path.stat().st_gid == os.getgid()
        await server.stop(0)
        assert not path.exists()


async def test_the_socket_of_a_dead_daemon_is_replaced(path: Path, spot: Spot) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    async with serving(spot), peer(spot) as client:
        assert (await client.row())["type"] == "hello"


async def test_the_socket_of_a_live_daemon_is_left_alone(path: Path, spot: Spot) -> None:
    async with serving(spot):
        with pytest.raises(ConfigError, match=r"another daemon listens at .*feed.sock: stop it"):
            await unix(path).start()
        async with peer(spot) as client:
            assert (await client.row())["epoch"] == "epoch"


async def test_a_file_is_never_taken_for_a_socket(path: Path) -> None:
    path.write_text("precious")
    with pytest.raises(ConfigError, match="is no socket"):
        await unix(path).start()
    assert path.read_text() == "precious"


@pytest.mark.parametrize(
    ("name", "group", "complaint"),
    [
        ("none/feed.sock", None, "cannot listen at .*: No such file or directory"),
        ("x" * 200, None, "cannot listen at .*: AF_UNIX path too long"),
        ("feed.sock", "no-such-group", "'no-such-group' is not a group"),
    ],
)
async def test_why_it_cannot_listen(name: str, group: str | None, complaint: str, tmp_path: Path) -> None:
    server = unix(tmp_path / name, group=group)
    with pytest.raises(ConfigError, match=complaint):
        await server.start()
    assert list(tmp_path.iterdir()) == []
    await server.stop(0)


async def test_the_socket_of_a_successor_is_not_removed(path: Path, spot: Spot) -> None:
    async with serving(spot):
        path.unlink()
        with socket.socket(socket.AF_UNIX) as successor:
            successor.bind(str(path))
    assert path.exists()


@pytest.mark.skipif(shutil.which("nc") is None, reason="nc is not installed")
async def test_netcat_is_a_client(path: Path, spot: Spot) -> None:
    async with serving(spot) as (bus, server):
        command = ["sh", "-c", f"echo 'trades:*:BTC/USDT' | nc -U {path}"]
        process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, start_new_session=True)
        assert process.stdout is not None
        await eventually(lambda: bool(server.status().subscribers and server.status().subscribers[0].topics))
        bus.publish([trade("ETH/USDT"), trade()])
        rows = [json.loads(await asyncio.wait_for(process.stdout.readline(), PATIENCE)) for _ in range(3)]
        assert [row.get("offset", row["type"]) for row in rows[1:]] == ["subscribed", 2]
        os.killpg(process.pid, signal.SIGKILL)  # the shell, and nc, which holds the pipe's other end
        await process.wait()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make another user's socket")
async def test_the_socket_of_another_user_is_left_alone(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    os.chown(path, 65534, -1)
    with pytest.raises(ConfigError, match=r"feed.sock is another user's: remove it, or set another path"):
        await unix(path).start()
    assert path.exists()
