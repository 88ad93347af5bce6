"""REST through a SOCKS5 proxy, which aiohttp does not know: its connections are opened by python-socks."""

import asyncio
import socket
from typing import Any

from aiohttp import TCPConnector
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.client_proto import ResponseHandler
from python_socks import ProxyType
from python_socks.async_.asyncio import Proxy as SocksProxy

from aggregator.ingest.proxies import Proxy


class SocksConnector(TCPConnector):
    """aiohttp's pool of connections, each opened through a proxy."""

    def __init__(self, proxy: Proxy, limit: int) -> None:
        """Open at most `limit` connections at once."""
        super().__init__(limit=limit, resolver=_Unresolved())
        self._proxy = proxy

    async def _wrap_create_connection(  # aiohttp has no public place for this
        self, *args: Any, addr_infos: list[Any], ssl: Any = None, server_hostname: str | None = None, **_: Any
    ) -> tuple[asyncio.Transport, ResponseHandler]:
        host, port, *_rest = addr_infos[0][4]
        proxy = self._proxy
        tunnel = SocksProxy(
            ProxyType.SOCKS5, proxy.host, proxy.port, proxy.user, proxy.password, rdns=proxy.scheme == "socks5h"
        )
        opened = await tunnel.connect(host, port)
        try:
            return await self._loop.create_connection(*args, sock=opened, ssl=ssl, server_hostname=server_hostname)
        except BaseException:
            opened.close()
            raise


class _Unresolved(AbstractResolver):
    """Leaves the names of hosts as they are, for python-socks or the proxy to resolve."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        return [ResolveResult(hostname=host, host=host, port=port, family=family, proto=0, flags=0)]

    async def close(self) -> None:
        pass
