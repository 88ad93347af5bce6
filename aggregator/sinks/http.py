"""The `http` sink: batches of records as signed POST requests to a webhook.

One request is under way at a time, so the order is that of the offsets. A batch that comes again has the same id and
the same records, by which a receiver knows it.
"""

import asyncio
import hashlib
import hmac
import io
import re
import zlib
from array import array
from collections.abc import Callable
from functools import partial
from hashlib import blake2b
from ipaddress import ip_address
from typing import Annotated, Literal
from urllib.parse import urlsplit

import aiohttp
import zstandard
from msgspec import Struct, structs
from pydantic import AfterValidator, Field, ValidationInfo

from aggregator.ingest.lines import USER_AGENT, retry_after
from aggregator.records import SECOND_NS
from aggregator.sinks.sink import NETWORK, Batch, Context, Refused, Retry, Sink, Writer
from aggregator.sinks.tls import tls_context
from aggregator.sinks.values import FilePath, Secret, Texts, names_login, quote, reveal
from aggregator.sinks.worker import Worker

OK = range(200, 300)
REDIRECTS = range(300, 400)
BROKEN = range(500, 600)
BUSY = frozenset({408, 425, 429})
OF_THE_RECORDS = frozenset({400, 413, 422})
CONNECT_S = 10.0
IDLE_S = 1.5  # receivers hang up after 2 s or more, and a request that meets that looks like a failure
LARGEST_ANSWER_BYTES = 65_536  # more of an answer is not read, and its connection not used again
SHOWN = 200  # characters of an answer, which the reason repeats
LONGEST_PAUSE_S = 3600.0  # a receiver may ask for no longer one
GZIP = 16 + zlib.MAX_WBITS
LEVEL = 3
SMALL_BYTES = 1 << 19  # fewer bytes of lines are a body sooner than a thread is asked for one
COPIED_BYTES = 1 << 20  # aiohttp writes a larger body in pieces only where it is given as a file
NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
OF_A_SECRET = re.compile("auth|cookie|key|password|secret|token", re.IGNORECASE)
# fmt: off
OURS = frozenset({
    "accept-encoding", "connection", "content-encoding", "content-length", "content-type", "expect", "host", "te",
    "trailer", "transfer-encoding", "upgrade",
})
# fmt: on
ADVICE = {
    401: "look at `token` and `secret`: they are read anew before the next try",
    403: "look at `token` and `secret`, and at what they may do there",
    404: "look at `url`",
    405: "look at `url`: it takes no POST",
    410: "look at `url`",
    415: "it takes no such body: look at `compression`, and whether it knows NDJSON",
}


def _url(value: str) -> str:
    """An address of a webhook. Raises ValueError."""
    if names_login(value):
        raise ValueError("names who logs in: write a token as a key of its own")
    try:
        parts = urlsplit(value)
        is_whole = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError as error:
        raise ValueError(f"{quote(value)}: {error}") from None
    if not is_whole or parts.fragment or not value.isprintable() or " " in value:
        raise ValueError(f'{quote(value)} is no address of a webhook; write "https://HOST/PATH"')
    return value


def _header_name(value: str) -> str:
    if not NAME.fullmatch(value):
        raise ValueError(f"{quote(value)} is no name of a header")
    if value.lower() in OURS or value.lower().startswith("aggregator-"):
        raise ValueError(f"{quote(value)} is set by the sink itself")
    return value


def _headers(values: tuple[str, ...]) -> tuple[str, ...]:
    """Headers for every request. Raises ValueError."""
    for value in values:
        name, colon, text = value.partition(":")
        if not colon or not text.strip() or not text.isascii() or not text.isprintable():
            raise ValueError(f'{quote(value)} is no header; write "Name: value"')
        _header_name(name)
        if OF_A_SECRET.search(name):
            raise ValueError(f"{quote(name)} holds a secret, by its name: write it as `token`, with `token_header`")
    return values


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _insecure(value: bool, info: ValidationInfo) -> bool:  # noqa: FBT001 - pydantic's own signature
    """Judge how the receiver is reached by all that stands beside. Raises ValueError for what does not go together."""
    given = info.data
    if "url" not in given:
        return value
    parts = urlsplit(given["url"])
    has_secret = given.get("secret") is not None or given.get("token") is not None
    if given.get("key") is not None and given.get("certificate") is None:
        raise ValueError("key needs a certificate")
    if parts.scheme == "https":
        return value
    if given.get("ca") is not None or given.get("certificate") is not None:
        raise ValueError("ca and certificate are of TLS: write https:// in `url`")
    if has_secret and not value and not _is_loopback(parts.hostname or ""):
        raise ValueError(
            "without TLS everyone on the way may read what is sent there, and send it again: write https:// in `url`, "
            "or say where the way is safe: `insecure = true`"
        )
    return value


class HttpSettings(Struct, frozen=True, kw_only=True):
    """Signed batches to a webhook.

    url: where batches are posted, like `"https://collector.example/market"`. It stands in the log and in the status
    compression: of the body: `none`, `gzip` or `zstd`
    secret: where the key is that requests are signed with: `"file:PATH"`, `"env:NAME"` or `"credential:NAME"`
    token: where a token is that lets us in
    token_header: the header in which that stands; in `Authorization` it has `Bearer` before it
    headers: others for every request, like `["X-Source: market"]`; they hold no secrets
    ca: the file of the certificates that may have signed the receiver's; by default those that the system trusts
    certificate: the file of our own certificate, for a receiver that asks for one
    key: the file of its key; by default the same
    insecure: whether requests with a secret or a token go without TLS to another machine
    """

    url: Annotated[str, AfterValidator(_url)]
    compression: Literal["none", "gzip", "zstd"] = "none"
    secret: Secret | None = None
    token: Secret | None = None
    token_header: Annotated[str, AfterValidator(_header_name)] = "Authorization"  # noqa: S105 - a name
    headers: Annotated[Texts, AfterValidator(_headers)] | None = None
    ca: FilePath | None = None
    certificate: FilePath | None = None
    key: FilePath | None = None
    insecure: Annotated[bool, Field(validate_default=True), AfterValidator(_insecure)] = False


class WebhookAnswer(Struct, frozen=True):
    """The receiver's answer to a request.

    status: its number
    reason: the word beside that
    retry_after: when to come again, as its header says it
    location: where a redirect leads
    body: its first bytes
    """

    status: int
    reason: str = ""
    retry_after: str = ""
    location: str = ""
    body: bytes = b""

    def __str__(self) -> str:
        shown = "".join(char if char.isprintable() else " " for char in self.body.decode("utf-8", "replace"))
        said = " ".join(shown.split())[:SHOWN]
        return f"{self.status} {self.reason}".strip() + (f": {said}" if said else "")


def judge(answer: WebhookAnswer, now: int) -> None:
    """Return where a batch was taken. Raises Retry, Refused, or an OSError with words that say what to do.

    now: ns since the epoch
    """
    status = answer.status
    if status in OK:
        return
    if status in BUSY or status in BROKEN:
        raise Retry(str(answer), after=_pause(answer.retry_after, now))
    if status in OF_THE_RECORDS:
        raise Refused(str(answer))
    if status in REDIRECTS:
        where = f" to {answer.location[:SHOWN]}" if answer.location else ""
        raise OSError(f"{status}: it redirects{where}, which is not followed: write the right address in `url`")
    advice = ADVICE.get(status, "look at `url` and at the receiver")
    raise OSError(f"{answer}; {advice}")


def _pause(said: str, now: int) -> float | None:
    """The pause that a Retry-After asks for; null: none, so it is the frame's own."""
    seconds = retry_after(said, now)
    return min(seconds, LONGEST_PAUSE_S) if seconds else None


def signature(secret: str, timestamp: str, batch: str, body: bytes) -> str:
    """The signature of a request; neither the time nor the id holds a line's end, so that no two requests share one."""
    mac = hmac.new(secret.encode(), f"{timestamp}\n{batch}\n".encode(), hashlib.sha256)
    mac.update(body)
    return f"sha256={mac.hexdigest()}"


def _gzip(blob: bytes) -> bytes:
    packer = zlib.compressobj(LEVEL, wbits=GZIP)
    return packer.compress(blob) + packer.flush()


def _packer(compression: str) -> Callable[[bytes], bytes]:
    """Give the function that packs a body; one thread at a time may call it."""
    if compression == "gzip":
        return _gzip
    return zstandard.ZstdCompressor(level=LEVEL).compress if compression == "zstd" else bytes


def mark(batch: Batch, blob: bytes) -> str:
    """Tell batches apart that begin and end alike, by which records they hold, and a checksum of what these say.

    A digest of every byte would take as long as encoding them; and offsets that follow on each other are known by the
    first and the last.
    """
    offsets = batch.offsets
    which = b"" if isinstance(offsets, range) else array("q", offsets).tobytes()
    return blake2b(which + zlib.crc32(blob).to_bytes(4, "big"), digest_size=8).hexdigest()


class HttpWriter(Writer):
    """A receiver, and the connection to it that is kept open between requests."""

    def __init__(self, settings: HttpSettings, context: Context, session: aiohttp.ClientSession) -> None:
        """Send with this session. Raises OSError where a secret cannot be read."""
        self._url = settings.url
        self._clock = context.clock
        self._session = session
        self._secret = reveal(settings.secret)
        self._pack = _packer(settings.compression)
        self._headers = {"Content-Type": "application/x-ndjson"}
        if settings.compression != "none":
            self._headers["Content-Encoding"] = settings.compression
        for header in settings.headers or ():
            name, _, value = header.partition(":")
            self._headers[name] = value.strip()
        if (token := reveal(settings.token)) is not None:
            is_usual = settings.token_header.lower() == "authorization"
            self._headers[settings.token_header] = f"Bearer {token}" if is_usual else token
        self._worker = Worker("http")
        self._at_once = 0 if settings.compression == "gzip" else SMALL_BYTES  # gzip takes three times as long as zstd

    async def write(self, batch: Batch) -> None:
        """Post a batch, and wait for the whole answer. Raises OSError, Retry or Refused."""
        make = partial(self._made, batch, batch.blob, str(self._clock() // SECOND_NS))
        headers, body = make() if batch.size <= self._at_once else await self._worker.do(make)
        try:
            answer = await self._posted(headers, body)
        except (aiohttp.ClientError, ValueError) as error:
            raise OSError(in_words(error)) from error
        judge(answer, self._clock())

    def _made(self, batch: Batch, blob: bytes, now: str) -> tuple[dict[str, str], bytes]:
        """The headers and the body of a request; for a large one in a thread, since a megabyte takes its time."""
        id = f"{batch.epoch}:{batch.first}:{batch.last}:{mark(batch, blob)}"
        body = self._pack(blob)
        headers = {
            **self._headers,
            "Aggregator-Batch": id,
            "Aggregator-Epoch": batch.epoch,
            "Aggregator-First": str(batch.first),
            "Aggregator-Last": str(batch.last),
            "Aggregator-Count": str(len(batch)),
            "Aggregator-Timestamp": now,
        }
        if self._secret is not None:
            headers["Aggregator-Signature"] = signature(self._secret, now, id, body)
        return headers, body

    async def _posted(self, headers: dict[str, str], body: bytes) -> WebhookAnswer:
        data = body if len(body) <= COPIED_BYTES else io.BytesIO(body)
        async with self._session.post(self._url, data=data, headers=headers, allow_redirects=False) as response:
            said = bytearray()
            async for piece in response.content.iter_any():
                said += piece
                if len(said) > LARGEST_ANSWER_BYTES:
                    response.close()
                    break
            return WebhookAnswer(
                response.status,
                response.reason or "",
                response.headers.get("Retry-After", ""),
                response.headers.get("Location", ""),
                bytes(said[: 4 * SHOWN]),
            )

    async def close(self) -> None:
        """Hang up. All that was taken has its answer by then."""
        self._worker.stop()
        await self._session.close()


def in_words(error: Exception) -> str:
    """An error of the client library in words."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"the receiver's certificate is not trusted: {error.certificate_error}; look at `ca`"
    if isinstance(error, aiohttp.ClientConnectorError):  # its own words would show settings of the library
        return f"cannot connect to {error.host}:{error.port}: {error.os_error.strerror or error.os_error}"
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "the receiver hangs up without an answer"
    if isinstance(error, aiohttp.ClientPayloadError):
        return "the receiver's answer breaks off"
    if isinstance(error, aiohttp.ClientResponseError):
        return f"the answer is no HTTP: {error.message.splitlines()[0] if error.message else type(error).__name__}"
    return str(error) or type(error).__name__


async def open_http(settings: HttpSettings, context: Context) -> Writer:
    """Read the secrets; the first batch connects. Raises OSError."""
    is_tls = settings.url.startswith("https")
    tls = await asyncio.to_thread(tls_context, settings.ca, settings.certificate, settings.key) if is_tls else True
    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=1, ssl=tls, keepalive_timeout=IDLE_S),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S),  # the frame limits the whole
        headers={"User-Agent": USER_AGENT, "Accept-Encoding": "identity"},
        auto_decompress=False,
        trust_env=False,
    )
    try:
        return HttpWriter(settings, context, session)
    except BaseException:
        await session.close()
        raise


SINK = Sink(
    "http",
    HttpSettings,
    open_http,
    kind="network",
    delivery=structs.replace(NETWORK, queue=400_000, batch_age=1.0, timeout=30.0),
    unique="url",
    example={"url": "https://collector.example/market"},
)
