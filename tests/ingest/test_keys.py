"""Keys: where they may be, what is said where they are not, and that nothing but the exchange ever sees one."""

import asyncio
import copy
import hashlib
import hmac
import json
import os
import pickle
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
from msgspec import structs

from aggregator.capture.recorder import Recorder
from aggregator.config.config import Config, ConfigErrors, ExchangeConfig, load_config
from aggregator.daemon import running_exchanges
from aggregator.daemon.daemon import Daemon
from aggregator.errors import ConfigError, SessionError
from aggregator.exchange import Address, Credentials, Exchange, Keys, Listing, Request
from aggregator.ingest.credentials import LONGEST_KEY_BYTES, KeyPlace, missing_keys, parse_place, read_keys
from aggregator.ingest.lines import Line, LineListener
from aggregator.ingest.network import Answer, Internet, Network
from aggregator.ingest.signing import FIRST_PAUSE_S, LONGEST_PAUSE_S, Keyring
from aggregator.records import SECOND_NS, Trade
from aggregator.session.moment import Now
from aggregator.session.subscriptions import Ask
from tests.support.toy import PATIENCE, REST, running, toy

pytestmark = pytest.mark.waits

KEY, SECRET = "AKIA/0123+456789", 's3cr3t-"quoted"-and-long'
KEYS = Keys(fields={"key": "API key", "secret": "API secret"}, page="https://toy.example/keys")
PLAIN = {"key": KeyPlace("plain", KEY), "secret": KeyPlace("plain", SECRET)}
LOGIN = b'{"op":"login"}'


def sign_request(keys: Credentials, now: int, request: Request) -> Request:
    digest = hmac.new(keys["secret"].encode(), f"{now}{request.url}".encode(), hashlib.sha256).hexdigest()
    url = f"{request.url}?key={keys['key']}&at={now}&digest={digest}"
    return structs.replace(request, url=url, headers={"X-Key": keys["key"], "X-Secret": keys["secret"]})


def sign_frame(keys: Credentials, now: int, frame: bytes) -> bytes:
    return msgspec.json.encode({**json.loads(frame), **keys, "at": now})


# --- where keys are ---------------------------------------------------------------------------------------------------


def place_of(tmp_path: Path, blob: bytes, mode: int = 0o600) -> str:
    path = tmp_path / "key"
    path.write_bytes(blob)
    path.chmod(mode)
    return f"file:{path}"


def found(text: str) -> str:
    keys = Keys(fields={"key": "API key"}, page="")
    return read_keys("toy", keys, {"key": parse_place(text)})[0]["key"]


def test_a_key_is_read_from_each_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOY_KEY", KEY)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    (tmp_path / "toy-key").write_text(KEY)
    places = (place_of(tmp_path, KEY.encode()), "env:TOY_KEY", "credential:toy-key", f"plain:{KEY}")
    assert [found(text) for text in places] == [KEY] * 4


@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_the_end_of_a_line_is_no_part_of_a_key(tmp_path: Path, end: bytes) -> None:
    assert found(place_of(tmp_path, KEY.encode() + end)) == KEY


@pytest.mark.parametrize(
    ("blob", "said"),
    [
        (b"", "is empty"),
        (b"\n", "is empty"),
        (b"k" * 2**20, f"holds more than {LONGEST_KEY_BYTES} characters"),
        (b"SECRETVALUE\r\nX-Injected: 1", "holds control characters, or more than one line"),
        (b"SECRETVALUE\n\n", "holds control characters, or more than one line"),
        (b"SECRETVALUE\x00", "holds control characters"),
        (b"SECRETVALUE\x7f", "holds control characters"),
        (b"\xef\xbb\xbfSECRETVALUE", "holds characters beyond ASCII"),
        (b" SECRETVALUE", "begins or ends with a space"),
        (b"SECRETVALUE \n", "begins or ends with a space"),
    ],
)
def test_what_is_no_key_is_named_by_exchange_field_and_place_and_never_shown(
    tmp_path: Path, blob: bytes, said: str
) -> None:
    place = place_of(tmp_path, blob)
    with pytest.raises(ConfigError) as caught:
        found(place)
    text = "".join(traceback.format_exception(caught.value))
    assert str(caught.value).startswith(f"toy: credentials.key: the file {tmp_path / 'key'} {said}")
    assert "SECRETVALUE" not in text
    assert "kkkk" not in text


@contextmanager
def odd_files(tmp_path: Path) -> Iterator[Mapping[str, str]]:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "closed").write_text(KEY)
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    yield {
        f"file:{tmp_path}": "is no file: a directory, a pipe or a device",
        f"file:{tmp_path / 'fifo'}": "is no file: a directory, a pipe or a device",
        "file:/dev/zero": "is no file: a directory, a pipe or a device",
        f"file:{tmp_path / 'none'}": "cannot be read: No such file or directory",
        f"file:{tmp_path / 'loop'}": "cannot be read: Too many levels of symbolic links",
        "env:TOY_NO_SUCH": "is not set",
        "credential:toy": "cannot be had: there is no CREDENTIALS_DIRECTORY",
    }


def test_a_place_without_a_key_is_named_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    with odd_files(tmp_path) as odd:
        for text, said in odd.items():
            with pytest.raises(ConfigError, match=f"^toy: credentials.key: .*{said}"):
                found(text)


def test_all_troubles_of_one_exchange_are_named_together(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        read_keys("toy", KEYS, {"key": parse_place("env:TOY_NO_SUCH")})
    assert str(caught.value) == (
        "toy: credentials.key: the environment variable TOY_NO_SUCH is not set; "
        "toy: credentials.secret (API secret) is missing"
    )


def test_a_file_that_everybody_may_read_is_warned_of(tmp_path: Path) -> None:
    keys = Keys(fields={"key": "API key"}, page="")
    for mode, count in ((0o600, 0), (0o640, 0), (0o644, 1)):
        place = parse_place(place_of(tmp_path, KEY.encode(), mode))
        _, warnings = read_keys("toy", keys, {"key": place})
        assert len(warnings) == count
    assert warnings == [f"toy: credentials.key: {place} can be read by everybody on this machine; `chmod o=` it"]


@pytest.mark.parametrize("text", [SECRET, "", "plain:", "secret:x", "credential:../x", "credential:a/b", "env:a\nb", 7])
def test_what_names_no_place_is_refused_and_not_repeated(text: object) -> None:
    with pytest.raises(ValueError, match=r"key|after|credential") as caught:
        parse_place(text)
    assert SECRET not in str(caught.value)


def test_missing_keys_are_named_with_where_they_come_from() -> None:
    said = missing_keys("toy", KEYS)
    assert "key (API key), secret (API secret), from https://toy.example/keys" in said
    assert 'credentials = { key = "file:PATH", secret = "file:PATH" }' in said


# --- nothing shows a key ----------------------------------------------------------------------------------------------


def test_nothing_shows_or_writes_keys() -> None:
    keys = Credentials({"key": KEY, "secret": SECRET})
    shown = [repr(keys), str(keys), f"{keys}", repr([keys]), repr(PLAIN), str(PLAIN["key"])]
    assert shown[0] == "Credentials(key=***, secret=***)"
    assert not [text for text in shown if KEY in text or SECRET in text]
    for write in (pickle.dumps, copy.deepcopy, msgspec.json.encode, json.dumps):
        with pytest.raises(TypeError) as caught:
            write(keys)
        assert SECRET not in str(caught.value)


class Wire:
    """A network that keeps what reaches it, and answers what it is told to."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.sent: list[bytes] = []
        self.answers: list[Answer | SessionError] = []
        self.listener: LineListener | None = None
        self.now = Now(1_700_000_000 * SECOND_NS, 0)

    def network(self) -> Network:
        return Network(self.dial, self.fetch, lambda: self.now)

    async def fetch(self, request: Request) -> Answer:
        self.requests.append(request)
        answer = self.answers.pop(0) if self.answers else Answer(200, b"fine", {})
        if isinstance(answer, SessionError):
            raise answer
        return answer

    async def dial(self, _: Address, listener: LineListener) -> Line:
        self.listener = listener
        return self

    def send(self, frame: bytes) -> None:
        self.sent.append(frame)

    def hang_up(self, reason: str) -> None:
        self.sent.append(reason.encode())

    def wait(self, seconds: float) -> None:
        self.now = Now(self.now.wall + int(seconds * SECOND_NS), self.now.mono + int(seconds * SECOND_NS))


class Ears:
    name = "toy/main.1#1"

    def __init__(self) -> None:
        self.heard: list[bytes] = []

    def frames(self, payloads: list[bytes], _: Now) -> None:
        self.heard += payloads

    def gone(self, reason: str) -> None:
        self.heard.append(reason.encode())


def ring(wire: Wire, places: Mapping[str, KeyPlace] = PLAIN) -> Keyring:
    return Keyring("toy", KEYS, places, wire.network())


REQUEST = Request("https://toy.example/x", sign=sign_request)


async def test_a_request_is_signed_as_it_leaves_and_once() -> None:
    wire = Wire()
    await ring(wire).network().fetch(REQUEST)
    (asked,) = wire.requests
    assert asked == structs.replace(
        sign_request(Credentials({"key": KEY, "secret": SECRET}), wire.now.wall, REQUEST), sign=None
    )


async def test_a_request_without_a_signature_shows_no_key() -> None:
    wire, plain = Wire(), Request("https://toy.example/x")
    await ring(wire).network().fetch(plain)
    assert wire.requests == [plain]


async def test_a_request_that_passes_no_keyring_is_not_asked() -> None:
    internet = Internet()
    with pytest.raises(SessionError, match="it takes keys, and there are none"):
        await internet.network().fetch(REQUEST)
    await internet.close()


@pytest.mark.parametrize("login", [LOGIN, None])
async def test_the_login_is_signed_or_else_each_request_for_topics(login: bytes | None) -> None:
    wire, ears = Wire(), Ears()
    line = await ring(wire).network().dial(Address("wss://toy.example", login=login, sign=sign_frame), ears)
    asked = Ask.of(b'{"op":"subscribe"}', 1)
    for frame in (LOGIN, asked, b"ping"):
        line.send(frame)
    signed = [frame for frame in wire.sent if SECRET.encode() in frame.replace(b"\\", b"")]
    assert [json.loads(frame)["op"] for frame in signed] == ["login" if login else "subscribe"]
    assert json.loads(signed[0])["at"] == wire.now.wall
    assert wire.sent[2] == b"ping"


async def test_a_capture_holds_nothing_that_is_signed(tmp_path: Path) -> None:
    wire, ears = Wire(), Ears()
    wire.answers = [Answer(200, f'{{"error":"no such key {KEY}"}}'.encode(), {"x": SECRET, "y": "\udcff\ud800"})]
    recorder = Recorder(tmp_path / "toy.jsonl", "toy", ring(wire).network())
    network = recorder.network()
    answer = await network.fetch(REQUEST)
    line = await network.dial(Address("wss://toy.example", login=LOGIN, sign=sign_frame), ears)
    line.send(LOGIN)
    assert wire.listener is not None
    wire.listener.frames([b"before", msgspec.json.encode({"bad": SECRET}), b"after"], wire.now)
    wire.listener.gone(f"4001 {KEY}")
    recorder.close()
    text = (tmp_path / "toy.jsonl").read_text()
    rows = [json.loads(row) for row in text.splitlines()]
    assert [(row["dir"], row.get("raw"), row.get("url")) for row in rows] == [
        ("rest", '{"error":"no such key ***"}', REQUEST.url),
        ("open", None, "wss://toy.example"),
        ("out", LOGIN.decode(), None),
        ("in", "before", None),
        ("in", '{"bad":"***"}', None),
        ("in", "after", None),
        ("close", "4001 ***", None),
    ]
    assert ears.heard == [b"before", b'{"bad":"***"}', b"after", b"4001 ***"]
    assert answer.headers == {"x": "***", "y": "\udcff\ud800"}
    assert hides_all(text, repr(ears.heard), repr(answer))


def hides_all(*texts: str) -> bool:
    """Whether no text holds a key, however it is spelled."""
    whole = "\n".join(texts).replace("\\", "")
    return KEY not in whole and SECRET not in whole and "AKIA%2F" not in whole


async def test_an_error_of_the_network_is_told_as_if_nothing_were_signed() -> None:
    wire = Wire()
    signed = sign_request(Credentials({"key": KEY, "secret": SECRET}), wire.now.wall, REQUEST)
    wire.answers = [SessionError(f"no answer from {signed.url}: {signed.headers}", 3.0, is_busy=True)]
    with pytest.raises(SessionError) as caught:
        await ring(wire).network().fetch(REQUEST)
    assert str(caught.value).startswith("no answer from https://toy.example/x: ")
    assert (caught.value.wait, caught.value.is_busy) == (3.0, True)
    assert "digest" not in str(caught.value)
    assert hides_all("".join(traceback.format_exception(caught.value)))


async def test_a_key_of_the_wrong_form_is_said_without_what_it_holds() -> None:
    def careless(keys: Credentials, _: int, request: Request) -> Request:
        raise ValueError(f"invalid literal: {keys['secret']!r} for {request.url}")

    def careless_frame(keys: Credentials, _: int, frame: bytes) -> bytes:
        raise KeyError(keys["secret"], frame)

    wire, ears = Wire(), Ears()
    network = ring(wire).network()
    with pytest.raises(SessionError, match=r"cannot sign with its credentials \(ValueError\)") as caught:
        await network.fetch(structs.replace(REQUEST, sign=careless))
    line = await network.dial(Address("wss://toy.example", login=LOGIN, sign=careless_frame), ears)
    line.send(LOGIN)
    assert wire.sent == []
    assert ears.heard[0].startswith(b"cannot sign with its credentials (KeyError)")
    assert hides_all("".join(traceback.format_exception(caught.value)), repr(ears.heard))


# --- keys that are refused --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [401, 402, 403])
async def test_refused_keys_are_shown_again_ever_more_rarely_and_read_anew(
    tmp_path: Path, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    wire, path = Wire(), tmp_path / "secret"
    path.write_text("an old secret")
    keyring = ring(wire, PLAIN | {"secret": KeyPlace("file", str(path))})
    network, pause = keyring.network(), FIRST_PAUSE_S
    while pause < LONGEST_PAUSE_S:
        wire.answers = [Answer(status, f"bad key {KEY}".encode(), {})]
        assert (await network.fetch(REQUEST)).status == status
        for _ in range(3):
            with pytest.raises(SessionError, match=f"refused the keys: HTTP {status}: bad key ") as caught:
                await network.fetch(REQUEST)
            assert caught.value.wait == pytest.approx(pause)
        wire.wait(pause)
        pause *= 2
    assert len(wire.requests) == len([r for r in caplog.records if r.levelname == "ERROR"])
    path.write_text("the new secret")
    assert (await network.fetch(REQUEST)).status == 200
    assert wire.requests[-1].headers["X-Secret"] == "the new secret"
    wire.answers = [Answer(status, b"", {})]
    await network.fetch(REQUEST)
    with pytest.raises(SessionError) as caught:
        await network.fetch(REQUEST)
    assert caught.value.wait == pytest.approx(FIRST_PAUSE_S)  # they were good in between
    assert KEYS.page in caplog.text
    assert hides_all(caplog.text)


async def test_a_request_that_needs_no_keys_goes_on_while_they_are_refused() -> None:
    wire = Wire()
    keyring = ring(wire)
    keyring.deny("expired")
    plain = Request("https://toy.example/x")
    assert (await keyring.network().fetch(plain)).status == 200
    with pytest.raises(SessionError, match="refused the keys: expired"):
        await keyring.network().dial(Address("wss://toy.example", login=LOGIN, sign=sign_frame), Ears())


async def test_keys_that_cannot_be_read_ask_nothing() -> None:
    wire = Wire()
    with pytest.raises(SessionError, match=r"^credentials\.secret: the environment variable TOY_NO_SUCH is not set$"):
        await ring(wire, PLAIN | {"secret": KeyPlace("env", "TOY_NO_SUCH")}).network().fetch(REQUEST)
    assert wire.requests == []


async def test_short_values_are_not_looked_for_in_data() -> None:
    wire = Wire()
    wire.answers = [Answer(200, b'{"price":"1234"}', {})]
    places = {"key": KeyPlace("plain", "1234"), "secret": KeyPlace("plain", "a long enough secret")}
    assert (await ring(wire, places).network().fetch(REQUEST)).body == b'{"price":"1234"}'


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 - what is waited for sets no event
            await asyncio.sleep(0.01)


# --- a whole exchange -------------------------------------------------------------------------------------------------


def keyed(*, open_too: bool = False, **changes: object) -> Exchange:
    """A toy that wants keys of its stream; with `open_too` it has another stream without, which comes behind."""
    exchange = toy(login=LOGIN, sign=sign_frame, greets=True, **changes)
    stream, poll = exchange.feeds
    feeds = (
        (stream, structs.replace(stream, name="open", login=None, sign=None, greets=False)) if open_too else (stream,)
    )
    return structs.replace(exchange, feeds=(*feeds, poll), keys=KEYS)


async def test_a_stream_logs_in_before_anything_else_and_then_asks() -> None:
    async with running(keyed(), channels=("trades",), places=PLAIN) as (server, seen, _):
        await until(lambda: len(server.asked) == 2)
        await server.trade(1)
        await seen.until(Trade)
    assert server.asked[0] | {"at": 0} == {"op": "login", "key": KEY, "secret": SECRET, "at": 0}
    assert server.asked[1]["topics"] == ["trades:A"]
    assert hides_all(repr(seen.records))


@pytest.mark.parametrize("places", [PLAIN, None])
async def test_the_stream_with_keys_goes_before_the_one_without_if_there_are_keys(
    places: Mapping[str, KeyPlace] | None,
) -> None:
    async with running(keyed(open_too=True), channels=("trades",), places=places) as (server, seen, runner):
        await until(lambda: server.asked and "topics" in server.asked[-1])
        await server.trade(1)
        await seen.until(Trade)
        assert [shard.source.name for shard in runner.shards] == ["main" if places else "open"]


async def test_a_topic_that_only_keys_give_says_so() -> None:
    async with running(keyed(), channels=("trades",)) as (server, _, runner):
        assert runner.why_not("trades", "A") == "no feed of toy carries trades of it without keys"
        assert (server.connections, runner.shards) == (0, [])


async def test_keys_that_a_stream_refuses_are_not_shown_again_at_once(caplog: pytest.LogCaptureFixture) -> None:
    async with running(keyed(), channels=("trades",), places=PLAIN) as (server, seen, runner):
        server.to_login = json.dumps({"denied": f"bad secret {SECRET}"})
        await until(lambda: "again in" in caplog.text)
        why = runner.why_not("trades", "A")
    assert server.connections == 1
    assert "toy: the exchange refuses the keys: bad secret ***; they are read and shown again in 60 s" in caplog.text
    assert f"the exchange refuses the keys: bad secret ***; again in {FIRST_PAUSE_S:.1f} s" in caplog.text
    assert why is not None
    assert why.startswith("the exchange refuses the keys: bad secret ***")
    assert hides_all(caplog.text, repr(seen.records))


def wanted(**changes: object) -> ExchangeConfig:
    return ExchangeConfig(id="toy", channels=("trades",), symbols=("*",), endpoints={}, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("part", ["listing", "feeds"])
async def test_an_exchange_without_its_keys_says_once_which_and_is_left_out(
    part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    exchange = keyed()
    exchange = structs.replace(exchange, feeds=exchange.feeds[:1])
    if part == "listing":
        exchange = structs.replace(toy(), keys=KEYS, listing=Listing((Request(REST, sign=sign_request),)))
    monkeypatch.setattr(running_exchanges, "load_exchange", lambda _: exchange)
    kept = Daemon(Config(exchanges=(wanted(),), sinks=(), state=tmp_path, log_level="error"))
    async with asyncio.timeout(PATIENCE):
        await kept.exchanges._keep(wanted())
    said = f"{missing_keys('toy', KEYS)}; without them nothing is gathered from it"
    assert caplog.messages == [said]
    assert kept.exchanges.troubles == {"toy": said}


async def test_an_exchange_of_which_a_part_wants_keys_is_gathered_without_that_part(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kept = Daemon(Config(exchanges=(wanted(),), sinks=(), state=tmp_path, log_level="error"))
    assert kept.exchanges._has_its_keys(wanted(), keyed())
    assert caplog.messages == [f"{missing_keys('toy', KEYS)}; without them it gives no trades"]
    caplog.clear()
    assert kept.exchanges._has_its_keys(wanted(), keyed(open_too=True))
    assert kept.exchanges._has_its_keys(wanted(credentials=PLAIN), keyed())
    assert kept.exchanges._has_its_keys(wanted(), toy())
    assert caplog.messages == []


async def test_keys_that_cannot_be_read_are_said_with_their_place_and_looked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(running_exchanges, "load_exchange", lambda _: keyed())
    monkeypatch.setattr(running_exchanges, "RETRY_LISTING_S", 0.01)
    named = wanted(credentials=PLAIN | {"secret": KeyPlace("file", str(tmp_path / "none"))})
    kept = Daemon(Config(exchanges=(named,), sinks=(), state=tmp_path, log_level="error"))
    task = asyncio.create_task(kept.exchanges._keep(named))
    await until(lambda: len(caplog.records) == 2)
    task.cancel()
    said = f"credentials.secret: the file {tmp_path / 'none'} cannot be read: No such file or directory"
    assert caplog.records[0].message == f"toy: {said}; again in 0 s"
    assert kept.exchanges.troubles == {"toy": said}


CONFIG = """
[[exchanges]]
id = "kraken"
channels = ["trades"]
symbols = ["*"]
credentials = { CREDENTIALS }

[[sinks]]
type = "stdout"
"""


@pytest.mark.parametrize(
    ("keys", "written", "said"),
    [
        (None, 'key = "env:X"', ["6: exchanges[0].credentials: it takes no keys: leave this out"]),
        (KEYS, 'key = "env:X"', ["6: exchanges[0].credentials: secret (API secret) is missing"]),
        (
            KEYS,
            'key = "env:X", secret = "env:Y", pass = "plain:AKIAPLAIN"',
            ["6: exchanges[0].credentials.pass: is none of its keys; allowed: key, secret"],
        ),
        (
            KEYS,
            'key = "env:X", secret = "env:Y", secrt = "plain:AKIAPLAIN"',
            ['6: exchanges[0].credentials.secrt: is none of its keys; allowed: key, secret; did you mean "secret"?'],
        ),
    ],
)
def test_the_names_of_keys_are_those_of_the_exchange(
    tmp_path: Path, keys: Keys | None, written: str, said: list[str]
) -> None:
    path = tmp_path / "site.toml"
    path.write_text(CONFIG.replace("CREDENTIALS", written))
    with pytest.raises(ConfigErrors) as caught:
        load_config(path, known_channels=lambda _: ("trades",), known_keys=lambda _: keys)
    assert [str(problem).removeprefix(f"{path}:") for problem in caught.value.problems] == said
    assert "AKIAPLAIN" not in str(caught.value)


def test_a_key_in_a_configuration_is_warned_of_where_everybody_can_read_it_and_is_never_shown(tmp_path: Path) -> None:
    path = tmp_path / "site.toml"
    path.write_text(CONFIG.replace("CREDENTIALS", 'key = "plain:AKIAPLAIN", secret = "plain:AKIAPLAIN"'))
    for mode, count in ((0o644, 2), (0o640, 0)):
        path.chmod(mode)
        config = load_config(path, known_channels=lambda _: ("trades",), known_keys=lambda _: KEYS)
        assert len(config.warnings) == count
        assert "AKIAPLAIN" not in repr(config) + str(config.exchanges[0].credentials) + str(config.warnings)


def test_an_endpoint_that_is_not_encrypted_is_warned_of_where_keys_are_shown(tmp_path: Path) -> None:
    path = tmp_path / "site.toml"
    written = """key = "env:X", secret = "env:Y" }
[exchanges.endpoints]
"wss://a.example" = "ws://b.example"
"https://a.example" = "http://127.0.0.1:9"
"wss://c.example" = "wss://d.example"
#"""
    for credentials in (True, False):
        text = CONFIG.replace("CREDENTIALS", written)
        path.write_text(text if credentials else text.replace("credentials", "#"))
        config = load_config(path, known_channels=lambda _: ("trades",), known_keys=lambda _: KEYS)
        said = [str(problem).removeprefix(f"{path}:") for problem in config.warnings]
        assert [text.partition(": warning: ")[0] for text in said] == (
            ['8: exchanges[0].endpoints."wss://a.example"'] if credentials else []
        )
