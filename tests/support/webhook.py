"""A receiver of the `http` sink as a program of its own: it stores each batch once, and has one fault if it is to.

python -m tests.support.webhook FILE PORT FAULT; FILE gets a line of JSON for each batch that was taken.
"""

import asyncio
import base64
import gzip
import json
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import zstandard
from aiohttp import web

from tests.support.servers import LOOPBACK, Server

# `busy`: some requests are not taken; `cuts` and `garbage`: some are, and get half an answer, or none that is HTTP;
# `small`: no body above 50 kB; `picky`: no batch with an offset that ends with 07; `forgets`: it stores nothing.
Fault = Literal["none", "busy", "cuts", "garbage", "small", "picky", "forgets"]
SMALL_BYTES = 50_000
UNPACK: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    "gzip": gzip.decompress,
    "zstd": lambda body: zstandard.ZstdDecompressor().decompress(body, 1 << 24),
}


def webhook(folder: Path, fault: Fault = "none") -> Server:
    """A receiver at a free port."""
    command = [sys.executable, "-m", "tests.support.webhook", str(folder / "taken")]
    return Server(folder, lambda port: [*command, str(port), fault])


def taken(server: Server) -> list[tuple[dict[str, str], bytes]]:
    """The headers and the body of each batch that was stored."""
    lines = (server.folder / "taken").read_bytes().splitlines()
    return [(entry["headers"], base64.b64decode(entry["body"])) for entry in map(json.loads, lines)]


def unpacked(headers: dict[str, str], body: bytes) -> bytes:
    """The lines of a request."""
    return UNPACK[headers.get("Content-Encoding", "")](body)


class Receiver:
    """Takes requests, and remembers the ids of those that it took."""

    def __init__(self, path: Path, fault: Fault) -> None:
        """Go on with what a former life has stored."""
        self._fault = fault
        self._chance = random.Random(1)
        known: list[dict[str, Any]] = []
        if path.exists():
            lines = path.read_bytes().splitlines(keepends=True)
            whole = [line for line in lines if line.endswith(b"\n")]  # it may have been killed within the last
            path.write_bytes(b"".join(whole))
            known = [json.loads(line) for line in whole]
        self._ids = {entry["headers"]["Aggregator-Batch"] for entry in known}
        self._file = path.open("ab")

    async def take(self, request: web.Request) -> web.StreamResponse:
        """Answer a request."""
        body = await request.read()
        headers = dict(request.headers)
        if self._fault == "busy" and self._chance.random() < 0.3:
            return web.Response(status=self._chance.choice([429, 500, 503]), text="not now")
        if self._fault == "picky":
            bad = [row["offset"] for row in map(json.loads, body.splitlines()) if row["offset"] % 100 == 7]
            if bad:
                return web.Response(status=422, text=f"I do not like\n{bad[0]}")
        if self._fault != "forgets" and headers["Aggregator-Batch"] not in self._ids:
            self._ids.add(headers["Aggregator-Batch"])
            entry = {"headers": headers, "body": base64.b64encode(body).decode()}
            self._file.write(json.dumps(entry).encode() + b"\n")
            self._file.flush()
        if self._fault in {"cuts", "garbage"} and self._chance.random() < 0.3:
            assert request.transport is not None
            half = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"
            request.transport.write(half if self._fault == "cuts" else self._chance.randbytes(200) + b"\r\n\r\n")
            request.transport.close()
        return web.Response(text="taken")


async def serve(path: Path, port: int, fault: Fault) -> None:
    """Take requests until one is killed."""
    largest = SMALL_BYTES if fault == "small" else 1 << 26
    app = web.Application(client_max_size=largest)
    app.router.add_post("/market", Receiver(path, fault).take)
    runner = web.AppRunner(app, auto_decompress=False, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, LOOPBACK, port).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]))  # type: ignore[arg-type]
