"""A connection to NATS, as the sink and the source make it, and the headers of the sink's messages.

The client makes no connection anew by itself here: what it has buffered until then might be gone.
Protocol: https://docs.nats.io/reference/reference-protocols/nats-protocol
"""

import asyncio
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from msgspec import Struct
from pydantic import AfterValidator

from aggregator.sinks.address import addresses
from aggregator.sinks.tls import tls_context
from aggregator.sinks.values import FilePath, Secret, Texts, reveal

if TYPE_CHECKING:
    from nats.aio.client import Client

CONNECT_S = 5  # the client takes whole seconds
AGAIN_S = 0.1  # a server that refuses is tried once more after so long, and then whoever has asked is told
CLOSING_S = 0.5  # behind a certificate that was refused the client would wait for ever until it has hung up
PING_S = 5  # a connection that does not answer a second ping is gone
SCHEMES = ("nats", "ws", "wss", "tls")
EPOCH = "Aggregator-Epoch"  # the daemon's life
DAEMON = "Aggregator-Daemon"  # the name that the daemon has among others
BATCH = "Aggregator-Batch"  # FIRST-LAST/COUNT: the offsets of the batch, and in how many messages it comes
FENCE = "Aggregator-Fence"  # the number of an ownership in a cluster; a greater one ends a smaller one
BEFORE = "Aggregator-Before"  # the offset of the last record of the batch before; 0: the writer knows of none

MOST_BUCKETS = 64  # into which the symbols of an exchange may be divided

Servers = Annotated[Texts, AfterValidator(addresses(SCHEMES, "nats://127.0.0.1:4222"))]

T = TypeVar("T")


def bucket_names(name: str, count: int) -> list[str]:
    """The names for buckets of something's symbols. They tell the count: with another one a bucket is another one."""
    return [name] if count == 1 else [f"{name}-{bucket}of{count}" for bucket in range(count)]


class NatsLogin(Struct, frozen=True, kw_only=True):
    """The keys that say who logs in, and whom we trust.

    user: the name to log in with
    password: where its password is: `"file:PATH"`, `"env:NAME"` or `"credential:NAME"`
    token: where a token to log in with is
    credentials: the file of a user's JWT and seed, which needs the package `nkeys`
    ca: the file of the certificates that may have signed the server's; by default those that the system trusts
    certificate: the file of our own certificate, for a server that asks for one
    key: the file of its key; by default the same
    """

    user: str | None = None
    password: Secret | None = None
    token: Secret | None = None
    credentials: FilePath | None = None
    ca: FilePath | None = None
    certificate: FilePath | None = None
    key: FilePath | None = None


class NatsKeys(NatsLogin, frozen=True, kw_only=True):
    """The keys that say where the servers are, and who logs in.

    servers: addresses, like `["nats://127.0.0.1:4222"]`; `tls://` speaks TLS. The others of its cluster are tried too
    """

    servers: Servers


class Watch:
    """The last words of the client, which it says while nobody asks."""

    def __init__(self) -> None:
        self.gone = asyncio.get_running_loop().create_future()
        self._error: Exception | None = None

    async def note(self, error: Exception) -> None:
        self._error = error

    async def note_end(self) -> None:
        if not self.gone.done():
            self.gone.set_result(None)

    def failure(self, error: Exception | None = None) -> OSError:
        """The reason why something has failed: what the client told by itself says more than what it has raised."""
        told = self._error or error
        return OSError(said(told)) if told else ConnectionResetError("the connection is gone")

    async def while_connected(self, answer: "asyncio.Future[T]") -> T:
        """Wait for an answer; a connection that is gone gives none. Raises OSError."""
        try:
            await asyncio.wait({answer, self.gone}, return_when=asyncio.FIRST_COMPLETED)
            if answer.done():
                return answer.result()
        finally:
            _let_go(answer)
        raise self.failure()


async def answered(call: Coroutine[Any, Any, T]) -> T:
    """Wait for a call of the client, which is made in a task of its own. Raises what it raises.

    The client keeps a cancellation to itself that comes while it flushes (2.16), and Python 3.11 one that comes
    together with the answer: whoever has called would go on as if nothing had been said.
    """
    task = asyncio.ensure_future(call)
    try:
        await asyncio.wait({task})
        return task.result()
    finally:
        _let_go(task)


def _let_go(answer: "asyncio.Future[Any]") -> None:
    """Wait for an answer no more, nor for an error in its place."""
    answer.add_done_callback(lambda done: done.cancelled() or done.exception())
    answer.cancel()


def said(error: Exception) -> str:
    """An error of the client in words."""
    description = getattr(error, "description", None)
    return description or str(error).removeprefix("nats: ") or type(error).__name__


def _with_login(failure: OSError, login: NatsLogin, *, has_hung_up: bool) -> OSError:
    """A failure, with who wanted to log in where that was refused, or where the server hung up on it without a word."""
    is_refused = "authorization violation" in str(failure).lower()
    given = [f"`{key}`" for key in ("user", "password", "token", "credentials", "certificate") if getattr(login, key)]
    if not is_refused and not (has_hung_up and given):
        return failure
    who = "" if login.user is None else f" of {login.user!r}"
    how = "is refused" if is_refused else f"may be refused, as the server hung up on it ({failure})"
    what = f"look at {', '.join(given)}" if given else "there is no `user` and no `token` to log in with"
    return OSError(f"the login{who} {how}: {what}")


async def connect(servers: Sequence[str], login: NatsLogin, watch: Watch) -> "Client":
    """Connect to one of the servers. Raises OSError."""
    from nats.aio.client import Client
    from nats.errors import Error

    if login.credentials is not None and find_spec("nkeys") is None:
        raise OSError("`credentials` needs the package `nkeys`: install it beside this one")
    has_files = login.ca is not None or login.certificate is not None
    password, token = reveal(login.password), reveal(login.token)
    tls = tls_context(login.ca, login.certificate, login.key) if has_files else None

    class CarefulClient(Client):  # type: ignore[misc] # its package may not be here
        """A client that goes on where the headers of a message are cut short: it would read nothing more (2.16)."""

        async def _process_headers(self, headers: bytes) -> dict[str, str] | None:
            try:
                found: dict[str, str] | None = await super()._process_headers(headers)
            except (IndexError, UnicodeDecodeError):
                return None
            return found

    client = CarefulClient()
    try:
        connecting = client.connect(
            list(servers),
            name="aggregator",
            allow_reconnect=False,
            max_reconnect_attempts=1,  # each server is tried twice then; by default it is for two minutes
            reconnect_time_wait=AGAIN_S,
            connect_timeout=CONNECT_S,
            ping_interval=PING_S,
            error_cb=watch.note,
            closed_cb=watch.note_end,
            user=login.user,
            password=password,
            token=token,
            user_credentials=None if login.credentials is None else str(login.credentials),
            tls=tls,
        )
        await answered(connecting)
    except BaseException as error:
        with suppress(TimeoutError, AssertionError):  # it asserts that it has come as far as to an address
            async with asyncio.timeout(CLOSING_S):
                await client.close()
        if isinstance(error, Error | ConnectionResetError):
            has_hung_up = isinstance(error, ConnectionResetError)
            raise _with_login(watch.failure(error), login, has_hung_up=has_hung_up) from error
        raise
    return client
