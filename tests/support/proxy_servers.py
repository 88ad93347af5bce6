"""Small proxies for tests: HTTP (CONNECT, and plain requests) and SOCKS5, with or without a password."""

import asyncio
import base64
import ipaddress
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

USER, PASSWORD = "operator", "s3cret:/@"


class Passing:
    """A proxy that runs. asked: each target that it was asked for; port: where it listens."""

    def __init__(self, *, locked: bool) -> None:
        self.asked: list[str] = []
        self.port = 0
        self.locked = locked

    async def http(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        method, target, _ = head.split(" ", 2)
        token = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        if self.locked and f"Proxy-Authorization: Basic {token}".lower() not in head.lower():
            writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            return
        self.asked.append(f"{method} {target}")
        if method == "CONNECT":
            host, _, port = target.rpartition(":")
            far = await asyncio.open_connection("127.0.0.1" if host.endswith(".test") else host, int(port))
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        else:
            parts = urlsplit(target)
            far = await asyncio.open_connection("127.0.0.1", parts.port)
            far[1].write(head.replace(target, parts.path or "/", 1).encode())
        await join((reader, writer), far)

    async def socks(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _, count = await reader.readexactly(2)
        methods = await reader.readexactly(count)
        method = 2 if self.locked else 0
        if method not in methods:
            writer.write(b"\x05\xff")
            return
        writer.write(bytes([5, method]))
        if self.locked:
            _, size = await reader.readexactly(2)
            user = await reader.readexactly(size)
            password = await reader.readexactly((await reader.readexactly(1))[0])
            good = (user.decode(), password.decode()) == (USER, PASSWORD)
            writer.write(bytes([1, 0 if good else 1]))
            if not good:
                return
        _, _, _, kind = await reader.readexactly(4)
        if kind == 3:
            host = (await reader.readexactly((await reader.readexactly(1))[0])).decode()
        else:
            host = str(ipaddress.ip_address(await reader.readexactly(4 if kind == 1 else 16)))
        port = int.from_bytes(await reader.readexactly(2))
        self.asked.append(f"{host}:{port}")
        far = await asyncio.open_connection("127.0.0.1" if host.endswith(".test") else host, port)
        writer.write(b"\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x00")
        await join((reader, writer), far)


Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def join(near: Ends, far: Ends) -> None:
    """Carry bytes both ways until either side ends."""

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(OSError):
                while data := await reader.read(2**16):
                    writer.write(data)
                    await writer.drain()
        finally:  # the proxy may be stopped meanwhile
            writer.close()

    await asyncio.gather(carry(near[0], far[1]), carry(far[0], near[1]))


@asynccontextmanager
async def proxying(kind: str, *, locked: bool = False, tls: ssl.SSLContext | None = None) -> AsyncIterator[Passing]:
    passing = Passing(locked=locked)
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):  # asyncio would report the last
            await (passing.socks if kind.startswith("socks") else passing.http)(reader, writer)
        with suppress(OSError):
            await writer.drain()
        writer.close()
        with suppress(OSError, ssl.SSLError):
            await writer.wait_closed()
        tasks.discard(task)

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    passing.port = server.sockets[0].getsockname()[1]
    try:
        yield passing
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def certificate(folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's and a client's side of a certificate that is made for now, of the names that tests use."""
    key, cert = folder / "key.pem", folder / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-subj", "/CN=exchange.test", "-addext", "subjectAltName=DNS:exchange.test,DNS:localhost,IP:127.0.0.1",
         "-keyout", str(key), "-out", str(cert)],
        check=True, capture_output=True,
    )  # fmt: skip
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(cert, key)
    return server, ssl.create_default_context(cafile=str(cert))
