"""What is wrong with a login at NATS is told in words, by who wanted to log in."""

import asyncio
import socket
import struct
from pathlib import Path

import pytest

from aggregator.sinks.brokers.nats_client import NatsLogin, Watch, connect
from aggregator.sinks.values import parse_place

pytestmark = pytest.mark.waits


@pytest.mark.parametrize(
    ("login", "said"),
    [
        (NatsLogin(user="a", password=parse_place("file:/nowhere/nats.password")), "the file /nowhere/nats.password"),
        (NatsLogin(token=parse_place("env:AGGREGATOR_NO_SUCH_TOKEN")), "AGGREGATOR_NO_SUCH_TOKEN is not set"),
        (NatsLogin(ca=Path("/nowhere/ca.pem")), "/nowhere/ca.pem"),
        (NatsLogin(credentials=Path("/nowhere/user.creds")), "`credentials` needs the package `nkeys`"),
    ],
)
async def test_what_a_login_lacks_is_named(login: NatsLogin, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aggregator.sinks.brokers.nats_client.find_spec", lambda _: None)
    with pytest.raises(OSError, match=said):
        await connect(["nats://127.0.0.1:1"], login, Watch())


async def test_a_login_on_which_the_server_hangs_up_is_named() -> None:
    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'INFO {"server_id":"one","max_payload":1000,"auth_required":true}\r\n')
        await reader.readline()
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        said = r"the login of 'a' may be refused, as the server hung up on it \(.*\): look at `user`"
        with pytest.raises(OSError, match=said):
            await connect([f"nats://127.0.0.1:{port}"], NatsLogin(user="a"), Watch())
