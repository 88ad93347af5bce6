"""The way of a command to a daemon's feed: where it is, what is shown there, and how it is made sure of."""

import os
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import wraps
from pathlib import Path
from typing import Any

import click
from msgspec import Struct

from aggregator.client import Feed, Tls, connect

SOCKET = f"{os.environ.get('RUNTIME_DIRECTORY', '/run/aggregator')}/feed.sock"
FILE = click.Path(dir_okay=False, path_type=Path)


class Way(Struct, frozen=True):
    """The way to a feed, as the options of a command say it."""

    address: str
    token: Path | None = None
    ssl: Tls | None = None
    insecure: bool = False
    reconnect: bool = False

    def connect(self, *, resume: bool = True) -> AbstractAsyncContextManager[Feed]:
        """Connect to the feed; `resume` says whether what is missed between two connections is wanted."""
        return connect(
            self.address,
            token=self.token,
            ssl=self.ssl,
            insecure=self.insecure,
            reconnect=self.reconnect,
            resume=resume,
        )


OPTIONS = (
    click.option(
        "--feed",
        "--socket",
        "feed",
        metavar="ADDRESS",
        default=SOCKET,
        show_default=True,
        help="The daemon's feed: the path of its socket, tcp:HOST:PORT, http:HOST:PORT or wss://HOST:PORT.",
    ),
    click.option("--token-file", type=FILE, metavar="FILE", help="The token that the feed wants, in a file."),
    click.option("--tls", is_flag=True, help="Speak TLS, as wss:// does in any case."),
    click.option("--ca", type=FILE, metavar="FILE", help="Whose certificates are trusted, instead of the system's."),
    click.option("--cert", type=FILE, metavar="FILE", help="This client's certificate and its key, in one file."),
    click.option("--insecure", is_flag=True, help="Show the token without TLS even to another machine."),
    click.option("--reconnect", is_flag=True, help="When the feed ends, wait until it is there again."),
)


def by_way(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command these options; it gets them as `way`."""

    @wraps(command)
    def run(
        *,
        feed: str,
        token_file: Path | None,
        tls: bool,
        ca: Path | None,
        cert: Path | None,
        insecure: bool,
        reconnect: bool,
        **rest: Any,
    ) -> None:
        ssl = Tls(ca=ca, certificate=cert) if tls or ca or cert else None
        command(way=Way(feed, token_file, ssl, insecure, reconnect), **rest)

    for option in reversed(OPTIONS):
        run = option(run)
    return run
