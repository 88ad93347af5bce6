"""The `http` sink at a receiver that is killed, that hangs, is busy, answers nonsense or refuses some records."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from aggregator.bus.bus import Batch, Bus
from aggregator.config.config import load_config
from aggregator.errors import ConfigError
from aggregator.records import SECOND_NS, Trade
from aggregator.sinks.http import SINK, WebhookAnswer, judge, mark
from aggregator.sinks.running import running
from aggregator.sinks.sink import Refused, Retry
from aggregator.sinks.values import KeyPlace
from tests.support.delivery import Delivery, Row, differences, is_whole, parsed, repeats
from tests.support.servers import Server
from tests.support.webhook import SMALL_BYTES, Fault, taken, unpacked, webhook

pytestmark = pytest.mark.waits

ROOT = Path(__file__).resolve().parents[2]
COUNT = 10_000
KEY = "the key of the test"
NOW = 1_795_000_000


@asynccontextmanager
async def receiver(folder: Path, fault: Fault = "none") -> AsyncIterator[Server]:
    server = webhook(folder / "receiver", fault)
    await asyncio.to_thread(server.start)
    try:
        yield server
    finally:
        server.kill()


def delivery(server: Server, folder: Path, **settings: Any) -> Delivery:
    secret = KeyPlace("plain", KEY)
    return Delivery(SINK, folder, **{"url": f"http://127.0.0.1:{server.port}/market", "secret": secret, **settings})


def found(server: Server) -> list[Row]:
    return parsed([unpacked(headers, body) for headers, body in taken(server)])


def of_page(name: str) -> Callable[..., bool]:
    """A function that docs/sinks/http.md shows."""
    scope: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", (ROOT / "docs/sinks/http.md").read_text("utf-8"), re.DOTALL):
        exec(block, scope)  # noqa: S102 - the page's own
    function: Callable[..., bool] = scope[name]
    return function


# --- every record once ------------------------------------------------------------------------------------------------


@pytest.mark.timeout(240)
@pytest.mark.parametrize(("compression", "outages"), [("none", 3), ("gzip", 1), ("zstd", 1)])
async def test_every_record_arrives_once_though_the_receiver_is_killed(
    tmp_path: Path, compression: str, outages: int
) -> None:
    async with receiver(tmp_path) as server:
        given = delivery(server, tmp_path, compression=compression)
        status = await given.run(COUNT, outages=outages, down=server.kill, up=server.start)
        assert is_whole(status, COUNT)
        assert status.restarts >= outages
    rows = found(server)
    assert (differences(given.published, rows), repeats(rows)) == ([], 0)
    is_genuine = of_page("is_genuine")
    for headers, body in taken(server):
        offsets = [row["offset"] for row in parsed([unpacked(headers, body)])]
        assert is_genuine(headers, body, KEY)
        assert not is_genuine(headers, body, "another key")
        assert not is_genuine(headers, body + b"\n", KEY)
        assert not is_genuine({**headers, "Aggregator-Batch": "x"}, body, KEY)
        said = [headers[f"Aggregator-{name}"] for name in ("First", "Last", "Count")]
        assert said == list(map(str, (offsets[0], offsets[-1], len(offsets))))
        assert headers["Aggregator-Epoch"] == given.bus.epoch
        assert headers["Content-Type"] == "application/x-ndjson"


async def test_a_receiver_that_hangs_is_waited_for(tmp_path: Path) -> None:
    async with receiver(tmp_path) as server:
        given = delivery(server, tmp_path)
        assert is_whole(await given.run(COUNT, outages=1, down=server.hang, up=server.go_on), COUNT)
    rows = found(server)
    assert (differences(given.published, rows), repeats(rows)) == ([], 0)


@pytest.mark.timeout(240)
@pytest.mark.parametrize("fault", ["busy", "cuts", "garbage", "small"])
async def test_every_record_arrives_once_whatever_the_receiver_answers(tmp_path: Path, fault: Fault) -> None:
    async with receiver(tmp_path, fault) as server:
        given = delivery(server, tmp_path)
        status = await given.run(COUNT)
        assert is_whole(status, COUNT)
        assert fault != "busy" or (status.retried > 0 and status.restarts == 0)
        assert fault not in {"cuts", "garbage"} or status.restarts > 0
    rows = found(server)
    assert (differences(given.published, rows), repeats(rows)) == ([], 0)
    assert fault != "small" or all(len(body) <= SMALL_BYTES for _, body in taken(server))


@pytest.mark.timeout(240)
async def test_one_record_in_a_hundred_is_refused_and_is_a_dead_letter(tmp_path: Path) -> None:
    async with receiver(tmp_path, "picky") as server:
        given = delivery(server, tmp_path)
        status = await given.run(COUNT)
    assert (status.written, status.refused, status.dropped, status.held) == (COUNT - 100, 100, 0, 0)
    rows = found(server)
    letters = [json.loads(line) for line in next((tmp_path / "dead").iterdir()).read_bytes().splitlines()]
    assert sorted(letter["record"]["offset"] for letter in letters) == list(range(7, COUNT, 100))
    for letter in letters:
        assert letter["reason"] == f"422 Unprocessable Entity: I do not like {letter['record']['offset']}"
    assert differences([row for row in given.published if row["offset"] % 100 != 7], rows) == []
    assert repeats(rows) == 0


async def test_a_record_that_is_larger_than_the_receiver_takes_is_a_dead_letter(tmp_path: Path) -> None:
    async with receiver(tmp_path, "small") as server:
        given = delivery(server, tmp_path)
        await given.sink.start()
        ids = ("small", "x" * 2_000_000, "last")
        given.bus.publish([Trade(exchange="alpha", symbol="A/B", id=text, price="1", size="2") for text in ids])
        status = await given.end()
    assert (status.written, status.refused, status.held) == (2, 1, 0)
    assert [row["id"] for row in found(server)] == ["small", "last"]


def test_batches_that_begin_and_end_alike_have_different_marks() -> None:
    def marked(*texts: str) -> str:
        records = [Trade(offset=int(text[0]), id=text, price="1", size="2") for text in texts]
        batch = Batch(list(records), "e")
        return mark(batch, batch.blob)

    assert marked("1", "2", "3") == marked("1", "2", "3")
    assert (
        len({marked(*texts) for texts in (("1", "2", "3"), ("1", "3"), ("1", "2", "3 again"), ("1", "2!", "3"))}) == 4
    )


# --- answers ----------------------------------------------------------------------------------------------------------


def answer(status: int, retry_after: str = "", body: bytes = b"", location: str = "") -> None:
    judge(WebhookAnswer(status, "Word", retry_after, location, body), NOW * SECOND_NS)


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_what_is_accepted(status: int) -> None:
    answer(status)


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_what_comes_again(status: int) -> None:
    with pytest.raises(Retry, match=f"{status} Word: not now") as caught:
        answer(status, body=b"not\r\n now")
    assert caught.value.after is None


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("7", 7.0),
        ("0", None),
        ("-5", None),
        ("soon", None),
        ("99999999999999999999999", 3600.0),
        (format_datetime(datetime.fromtimestamp(NOW + 90, UTC), usegmt=True), 90.0),
        (format_datetime(datetime.fromtimestamp(NOW - 90, UTC), usegmt=True), None),
    ],
)
def test_when_it_comes_again(said: str, seconds: float | None) -> None:
    with pytest.raises(Retry) as caught:
        answer(503, retry_after=said)
    assert caught.value.after == seconds


@pytest.mark.parametrize("status", [400, 413, 422])
def test_what_is_refused(status: int) -> None:
    with pytest.raises(Refused) as caught:
        answer(status, body=b"\x00\xff" + b"x" * 700)
    assert caught.value.which is None
    assert caught.value.reason == f"{status} Word: " + ("\ufffd" + "x" * 700)[:200]


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (301, "redirects to https://elsewhere.example/, which is not followed: write the right address in `url`"),
        (401, "look at `token` and `secret`: they are read anew"),
        (403, "look at `token` and `secret`"),
        (404, "look at `url`"),
        (405, "it takes no POST"),
        (415, "look at `compression`"),
        (418, "look at `url` and at the receiver"),
    ],
)
def test_what_somebody_must_look_at(status: int, words: str) -> None:
    with pytest.raises(OSError, match=re.escape(words)):
        answer(status, location="https://elsewhere.example/")


class Script:
    """A server that gives one answer after the other, and keeps what was asked."""

    def __init__(self, *answers: bytes) -> None:
        self.asked: list[tuple[dict[str, str], bytes]] = []
        self.connections = 0
        self._answers = list(answers)
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> str:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/market"

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while self._answers:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                headers = dict(line.split(": ", 1) for line in head.splitlines()[1:-1])
                self.asked.append((headers, await reader.readexactly(int(headers["Content-Length"]))))
                writer.write(self._answers.pop(0))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


async def sent(url: str, folder: Path, count: int = 1, **settings: Any) -> list[str]:
    """Send so many records, a batch each; the reasons of failures that were seen on the way."""
    given = Delivery(SINK, folder, url=url, **settings)
    reasons: list[str] = []

    async def watch() -> None:
        while True:
            reason = given.sink.status().failing
            if reason is not None and reasons[-1:] != [reason]:
                reasons.append(reason)
            await asyncio.sleep(0.001)

    watching = asyncio.create_task(watch())
    await given.sink.start()
    for number in range(count):
        given.bus.publish([Trade(exchange="alpha", symbol="A/B", id=str(number), price="1", size="2")])
        while given.sink.status().held:  # noqa: ASYNC110 - a sink tells its status when asked
            await asyncio.sleep(0.001)
    assert is_whole(await given.end(), count)
    watching.cancel()
    return reasons


@pytest.mark.parametrize(
    ("first", "reason"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", None),
        (b"\x16\x03\x01 no HTTP\r\n\r\n", "the answer is no HTTP"),
        (b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n", "401 No; look at `token` and `secret`"),
        (b"HTTP/1.1 302 Found\r\nLocation: http://10.0.0.1/\r\nContent-Length: 0\r\n\r\n", "redirects to http://10.0"),
        (b"HTTP/1.1 503 No\r\nContent-Length: 4\r\n\r\nbusy", "503 No: busy"),
    ],
)
async def test_what_was_not_taken_comes_again_with_the_same_id(
    tmp_path: Path, first: bytes, reason: str | None
) -> None:
    script = Script(first, OK)
    async with script as url:
        if reason is None:  # half an answer: nothing more comes, and the time is up
            reason = "no answer within 3 s"
        reasons = await sent(url, tmp_path)
    assert [said for said in reasons if reason in said], reasons
    (one, body), (two, same) = script.asked
    assert (one["Aggregator-Batch"], body) == (two["Aggregator-Batch"], same)


async def test_an_answer_without_end_is_not_read_to_the_end(tmp_path: Path) -> None:
    endless = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"8000\r\n" + b"x" * 0x8000 + b"\r\n"
    script = Script(endless + (b"8000\r\n" + b"x" * 0x8000 + b"\r\n") * 9, OK)
    async with script as url:
        assert await sent(url, tmp_path, count=2) == []
    assert len(script.asked) == 2
    assert script.connections == 2, "the first has not come to its end, so nothing else can be asked over it"


async def test_one_connection_serves_all_batches(tmp_path: Path) -> None:
    script = Script(OK, OK, OK)
    async with script as url:
        assert await sent(url, tmp_path, count=3) == []
    assert (len(script.asked), script.connections) == (3, 1)
    assert len({headers["Aggregator-Batch"] for headers, _ in script.asked}) == 3


async def test_what_the_headers_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    script = Script(OK)
    async with script as url:
        await sent(url, tmp_path, headers=("X-Source: market",), token=KeyPlace("plain", "t0"))
    ((headers, _),) = script.asked
    assert headers["X-Source"] == "market"
    assert headers["Authorization"] == "Bearer t0"
    assert "Aggregator-Signature" not in headers
    script = Script(OK)
    async with script as url:
        await sent(url, tmp_path, token=KeyPlace("plain", "t0"), token_header="X-Api-Key")
    ((headers, _),) = script.asked
    assert (headers["X-Api-Key"], headers.get("Authorization")) == ("t0", None)


async def test_a_secret_that_is_changed_is_read_anew(tmp_path: Path) -> None:
    place = tmp_path / "token"
    place.write_text("old")
    script = Script(b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n", OK)
    async with script as url:
        bus = Bus("e")
        keys = structs.replace(SINK.defaults, backoff=0.2, longest_backoff=0.2)
        sink = running(SINK.configured(keys, url=url, token=KeyPlace("file", str(place))), bus)
        await sink.start()
        bus.publish([Trade(exchange="alpha", symbol="A/B", price="1", size="2")])
        while not script.asked:  # noqa: ASYNC110 - likewise
            await asyncio.sleep(0.001)
        place.write_text("new")
        sink.end()
        assert sink.task is not None
        await sink.task
    assert [headers["Authorization"] for headers, _ in script.asked] == ["Bearer old", "Bearer new"]


async def test_a_receiver_whose_certificate_nobody_signed_is_not_trusted(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"TLS cannot be had from .*missing.pem: No such file"):
        await SINK.open(
            SINK.settings(url="https://127.0.0.1:1/", ca=tmp_path / "missing.pem"),
            None,  # type: ignore[arg-type] # it fails before
        )


# --- what a configuration may say -------------------------------------------------------------------------------------


def configured(folder: Path, lines: str) -> Any:
    path = folder / "site.toml"
    path.write_text(
        '[[exchanges]]\nid = "kraken"\nchannels = ["trades"]\nsymbols = ["BTC/USD"]\n'
        f'[[sinks]]\ntype = "http"\n{lines}\n'
    )
    return load_config(path, known_channels=lambda _: ("trades",)).sinks[0].settings


FAR = 'url = "http://collector.example/"\n'
NEAR = 'url = "http://127.0.0.1:9/"\n'
SAFE = 'url = "https://collector.example/"\n'


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ('url = "ftp://collector.example/"', "is no address of a webhook"),
        ('url = "https:///market"', "is no address of a webhook"),
        ('url = "https://me:word@collector.example/"', "names who logs in"),
        ('url = "https://me:word@collector.example:99999/"', "names who logs in"),
        ('url = "https://collector.example:99999/"', "collector.example:99999"),
        (FAR + 'secret = "env:KEY"', "everyone on the way may read what is sent there"),
        (FAR + 'token = "env:KEY"', "everyone on the way may read what is sent there"),
        (NEAR + 'ca = "ca.pem"', "ca and certificate are of TLS"),
        (SAFE + 'key = "key.pem"', "key needs a certificate"),
        (SAFE + 'token = "the token itself"', "must say where the key is, not hold it"),
        (SAFE + 'headers = ["X-Source"]', "is no header"),
        (SAFE + 'headers = ["X Source: a"]', "is no name of a header"),
        (SAFE + 'headers = ["X-Api-Key: a"]', "holds a secret, by its name"),
        (SAFE + 'headers = ["Authorization: Basic a"]', "holds a secret, by its name"),
        (SAFE + 'headers = ["Host: a"]', "is set by the sink itself"),
        (SAFE + 'headers = ["Aggregator-Batch: a"]', "is set by the sink itself"),
        (SAFE + 'headers = ["X-Source: a\\r\\nHost: b"]', "is no header"),
        (SAFE + 'token_header = "X:Y"', "is no name of a header"),
        (SAFE + 'compression = "br"', "allowed: gzip, none, zstd"),
    ],
)
def test_what_goes_not_together(tmp_path: Path, lines: str, words: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(words)):
        configured(tmp_path, lines)


@pytest.mark.parametrize(
    "lines",
    [
        NEAR + 'secret = "env:KEY"',
        FAR,
        FAR + 'secret = "env:KEY"\ninsecure = true',
        'url = "http://[::1]:9/"\ntoken = "env:KEY"',
        'url = "http://localhost/"\ntoken = "env:KEY"',
        SAFE + 'headers = ["X-Source: a: b", "X-Other: c"]\ntoken = "env:KEY"\ntoken_header = "X-Api-Key"',
    ],
)
def test_what_goes_together(tmp_path: Path, lines: str) -> None:
    assert configured(tmp_path, lines).url
