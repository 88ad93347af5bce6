"""Messages that neither a sink nor a member has written, as anybody may publish them who is let in."""

import asyncio

from aggregator.sinks.brokers.nats_client import BATCH, BEFORE, DAEMON, EPOCH, FENCE
from tests.support.servers import LOOPBACK

EPOCH_NOW = "20260101T000000.000000Z"
WELL = {EPOCH: EPOCH_NOW, DAEMON: "x", BATCH: "1-1/1", BEFORE: "0", FENCE: "7"}
GREAT = "9" * 18
CUT = b"NATS/1.0"  # headers that end before they begin
FOREIGN: tuple[tuple[bytes, dict[str, str]], ...] = (
    (b"", {}),
    (b"hello", {}),
    (b'{"type":"trade","exchange":"alpha"}', {}),
    (b"x", {"Status": "503", "Description": "no"}),
    (b"x", {"Some": "thing"}),
    (b"x", WELL),
    (b"\xff\xfe", {**WELL, FENCE: GREAT}),
    (b"{}", {**WELL, FENCE: "9" * 5000}),
    (b"[" * 50_000, {**WELL, BATCH: f"1-{GREAT}/1"}),
    (b"", {**WELL, BATCH: f"1-{GREAT}/1"}),
    (b"{}", {**WELL, BATCH: "9" * 5000}),
    (b"x", {**WELL, EPOCH: "zzz", DAEMON: "zzz"}),
    (b"{}", {**WELL, BEFORE: "-1"}),
)


async def publish_raw(port: int, subject: str, head: bytes, body: bytes = b"x") -> None:
    """Publish a message whose headers no client would write."""
    reader, writer = await asyncio.open_connection(LOOPBACK, port)
    await reader.readline()
    sizes = f"{len(head)} {len(head) + len(body)}"
    writer.write(b'CONNECT {"verbose":false,"headers":true}\r\n')
    writer.write(f"HPUB {subject} {sizes}\r\n".encode() + head + body + b"\r\nPING\r\n")
    await writer.drain()
    assert await reader.readline() == b"PONG\r\n"
    writer.close()


async def publish_foreign(port: int, *subjects: str) -> None:
    """Publish each of them at each of these subjects."""
    import nats

    client = await nats.connect(f"nats://{LOOPBACK}:{port}")
    for subject in subjects:
        for payload, headers in FOREIGN:
            await client.publish(subject, payload, headers=headers or None)
        await client.flush()
        await publish_raw(port, subject, CUT)
    await client.close()
