"""An event loop on which no connection waits for the name of another's host.

The system gives the address of a name in a call that blocks. uvloop has two threads for those of all connections, and
the standard library has a few, so some names whose servers do not answer would keep every exchange waiting, and the end
of the program as well. Here each name that is looked up has a thread of its own, which whoever asks for it meanwhile
waits for.
"""

import asyncio
import errno
import socket
from collections.abc import Callable
from concurrent.futures import Future
from threading import Thread
from typing import Any

from aiohappyeyeballs import start_connection

LOOKUP_S = 10.0  # after this time a name counts as unknown; whoever asks next still waits for its thread
MOST_LOOKUPS = 256  # at once
NEXT_ADDRESS_S = 0.25  # after this time a host's next address is tried too, as RFC 8305 has it

Addresses = list[tuple[Any, ...]]  # `socket.getaddrinfo` gives them in this form


class NameLookups:
    """The names that are being looked up."""

    def __init__(self) -> None:
        self._asked: dict[tuple[object, ...], Future[Addresses | OSError]] = {}

    async def look_up(self, host: object, port: object, **hints: int) -> Addresses:
        """The addresses of a name. Raises OSError where there is none in time."""
        key = (host, port, *hints.values())
        asked = self._asked.get(key)
        if asked is None:
            asked = self._begin(key, lambda: socket.getaddrinfo(host, port, **hints))  # type: ignore[arg-type]
        try:
            async with asyncio.timeout(LOOKUP_S):
                found = await asyncio.shield(asyncio.wrap_future(asked))
        except TimeoutError:
            raise socket.gaierror(
                socket.EAI_AGAIN, f"no name server has told the address of {host} within {LOOKUP_S:g} s"
            ) from None
        if isinstance(found, OSError):
            raise found
        return found

    def _begin(self, key: tuple[object, ...], call: Callable[[], Addresses]) -> Future[Addresses | OSError]:
        if len(self._asked) >= MOST_LOOKUPS:
            raise OSError(errno.EAGAIN, f"{MOST_LOOKUPS} names are looked up already, and none is told")
        asked = self._asked[key] = Future()

        def ask() -> None:
            found: Addresses | OSError
            try:
                found = call()
            except OSError as error:
                found = error
            except Exception as error:  # noqa: BLE001 - a name that cannot be one
                found = OSError(errno.EINVAL, str(error))
            self._asked.pop(key, None)
            asked.set_result(found)

        try:
            Thread(target=ask, name="name", daemon=True).start()
        except RuntimeError as error:  # the system has no more threads
            self._asked.pop(key, None)
            raise OSError(errno.EAGAIN, str(error)) from None
        return asked


def is_numeric(host: object) -> bool:
    """Tell whether a host is an address already, which no server has to be asked for."""
    if host is None:
        return True
    if not isinstance(host, str):
        return False
    try:
        socket.getaddrinfo(host, None, flags=socket.AI_NUMERICHOST)
    except (OSError, UnicodeError):
        return False
    return True


async def open_socket(host: str, port: int, **hints: int) -> socket.socket:
    """A socket that is connected to a host, at the first of its addresses that answers; none is left if cancelled."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, **hints)
    return await start_connection(found, happy_eyeballs_delay=NEXT_ADDRESS_S, interleave=1, loop=loop)


def with_names(base: type[asyncio.AbstractEventLoop]) -> type[asyncio.AbstractEventLoop]:
    """A kind of loop that looks up names in this way."""

    class Loop(base):  # type: ignore[misc, valid-type]
        def __init__(self, *options: Any) -> None:
            super().__init__(*options)
            self._names = NameLookups()

        async def getaddrinfo(
            self, host: Any, port: Any, *, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0
        ) -> Addresses:
            if is_numeric(host):
                return socket.getaddrinfo(host, port, family, type, proto, flags)
            return await self._names.look_up(host, port, family=family, type=type, proto=proto, flags=flags)

        async def create_connection(
            self, protocol_factory: Any, host: Any = None, port: Any = None, **options: Any
        ) -> Any:
            for name in ("happy_eyeballs_delay", "interleave"):
                options.pop(name, None)
            if host is None or is_numeric(host) or options.get("local_addr") is not None:
                return await super().create_connection(protocol_factory, host, port, **options)
            hints = {name: options.pop(name, 0) for name in ("family", "proto", "flags")}
            if options.get("ssl") and options.get("server_hostname") is None:
                options["server_hostname"] = host
            opened = await open_socket(host, port, **hints)
            try:
                return await super().create_connection(protocol_factory, sock=opened, **options)
            except BaseException:
                opened.close()
                raise

    return Loop


def new_loop() -> asyncio.AbstractEventLoop:
    """A loop of uvloop's where that is to be had."""
    try:
        import uvloop
    except ImportError:
        return with_names(asyncio.SelectorEventLoop)()
    return with_names(uvloop.Loop)()
