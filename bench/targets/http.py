"""A webhook: the client posts the same bodies over one connection, packed and signed as the mode asks of anybody.

It signs what the sink signs, the time, an id and the body, by the same HMAC, and packs at the same level; what the sink
does beyond that, as its id with a mark of the records and its other headers, it does not.
"""

import hashlib
import hmac
import time
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import aiohttp
import zstandard

from aggregator.bus.bus import Batch
from aggregator.sinks.http import GZIP, LEVEL, SINK
from aggregator.sinks.values import KeyPlace
from bench.targets.target import Alone, Mode, Send, Target
from tests.support.webhook import webhook

KEY = "the key"


def settings(port: int, **more: object) -> dict[str, object]:
    return {"url": f"http://127.0.0.1:{port}/market", **more}


def _signed(batch: Batch, body: bytes) -> dict[str, str]:
    now, id = str(int(time.time())), f"{batch.epoch}:{batch.first}:{batch.last}"
    mac = hmac.new(KEY.encode(), f"{now}\n{id}\n".encode(), hashlib.sha256)
    mac.update(body)
    return {"Aggregator-Batch": id, "Aggregator-Timestamp": now, "Aggregator-Signature": f"sha256={mac.hexdigest()}"}


def alone(
    pack: Callable[[bytes], bytes] = bytes, headers: Callable[[Batch, bytes], dict[str, str]] = lambda _, __: {}
) -> Alone:
    @asynccontextmanager
    async def client(port: int) -> AsyncIterator[Send]:
        """One request a batch."""
        url = f"http://127.0.0.1:{port}/market"
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1)) as session:

            async def send(batch: Batch) -> None:
                body = pack(batch.blob)
                async with session.post(url, data=body, headers=headers(batch, body)) as response:
                    response.raise_for_status()
                    await response.read()

            yield send

    return client


TARGET = Target(
    SINK,
    lambda folder: webhook(folder, "forgets"),
    {
        "plain": Mode(settings, alone()),
        "signed": Mode(lambda port: settings(port, secret=KeyPlace("plain", KEY)), alone(headers=_signed)),
        "gzip": Mode(
            lambda port: settings(port, compression="gzip"),
            alone(lambda blob: zlib.compress(blob, LEVEL, GZIP), lambda _, __: {"Content-Encoding": "gzip"}),
        ),
        "zstd": Mode(
            lambda port: settings(port, compression="zstd"),
            alone(zstandard.ZstdCompressor(level=LEVEL).compress, lambda _, __: {"Content-Encoding": "zstd"}),
        ),
    },
)
