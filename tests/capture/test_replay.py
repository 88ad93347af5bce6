"""Reading captures: which stream a frame is of, where its line does not say; frames together and alone."""

import base64
import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from msgspec import structs

from aggregator.capture.line import CaptureBlock, CaptureLine, times_of
from aggregator.capture.replay import ParseOnly, Replay, asked_for
from aggregator.catalog.registry import load_exchange
from aggregator.errors import BadFrame
from aggregator.exchange import Event, Exchange, Parse, Request, Stream
from aggregator.records import BookSnapshot, Gap, Instrument, Record, Trade
from aggregator.session.session import WEIGHED_BYTES
from tests.support.toy import REST, toy


def counting() -> Parse:
    """A parser with a memory: it numbers the frames that it has heard."""
    heard = 0

    def parse(_: bytes) -> tuple[Event, ...]:
        nonlocal heard
        heard += 1
        return (Trade(raw_symbol="A", price="1", size="1", sequence=heard),)

    return parse


def test_a_parser_with_a_memory_hears_each_frame_once() -> None:
    stream = toy().feeds[0]
    assert isinstance(stream, Stream)
    feeds = tuple(
        msgspec.structs.replace(stream, name=name, url=url, parse=None, parser=counting)
        for name, url in (("one", "wss://one.example/a"), ("two", "wss://two.example/b"))
    )
    reader = ParseOnly(msgspec.structs.replace(toy(), feeds=feeds), [], None)
    lines = [CaptureLine(ts="1700000000", dir="in", raw="{}") for _ in range(3)]
    assert [record.sequence for line in lines for record in reader.feed(line) if isinstance(record, Trade)] == [1, 2, 3]


def test_of_streams_that_read_a_frame_the_one_takes_it_that_declares_and_serves_it() -> None:
    stream = toy().feeds[0]
    assert isinstance(stream, Stream)
    feeds = tuple(
        msgspec.structs.replace(stream, name=name, channels=channels, serves=serves)
        for name, channels, serves in (
            ("others", ("bbo",), lambda _: True),
            ("spot", ("trades",), lambda instrument: instrument.kind == "spot"),
            ("futures", ("trades",), lambda instrument: instrument.kind == "future"),
        )
    )
    exchange = msgspec.structs.replace(toy(), feeds=feeds)
    future = Instrument(raw_symbol="A", symbol="A/USD:USD-270101", kind="future", base="A", quote="USD")
    line = CaptureLine(ts="1700000000", dir="in", raw=trade(1))
    for url in (None, "wss://toy.example/ws"):
        line.url = url
        for known, conn, symbol in (([future], "toy/futures", future.symbol), ([], "toy/spot", None)):
            (record,) = Replay(exchange, known).feed(line)
            assert (record.conn.partition(".")[0], record.symbol) == (conn, symbol)


# --- connections that follow each other


def replayed(*lines: tuple[str, str, str], status: int = 200) -> list[Record]:
    """What lines of (direction, connection or url, raw) give, a second apart."""
    replay = Replay(toy(), [Instrument(raw_symbol="A", symbol="A/USD", base="A", quote="USD")])
    out: list[Record] = []
    for at, (dir, where, raw) in enumerate(lines):
        about = (
            {"url": where}
            if dir == "rest"
            else {"conn": f"toy/main.1#{where}", "url": "wss://toy.example/ws", "ends": True}
        )
        out += replay.feed(CaptureLine(ts=str(1_700_000_000 + at), dir=dir, raw=raw, status=status, **about))
    return out


def trade(number: int) -> str:
    return f'{{"s": "A", "n": {number}, "price": "5"}}'


def told(records: list[Record]) -> list[tuple[str, str | None, int | None]]:
    return [(record.phase, record.cause, record.missed) for record in records if isinstance(record, Gap)]


def test_what_was_missed_between_two_connections_is_told_again() -> None:
    out = replayed(
        ("open", "1", ""), ("in", "1", trade(1)), ("close", "1", "line lost"), ("open", "2", ""), ("in", "2", trade(4)),
        *(("in", "2", trade(n)) for n in range(5, 9)),
    )  # fmt: skip
    assert told(out) == [("open", "disconnect", None), ("close", "disconnect", 2)]
    assert [r.conn for r in out if isinstance(r, Trade)] == ["toy/main.1#1", *["toy/main.1#2"] * 5]


def test_where_nothing_was_missed_the_gap_was_none() -> None:
    out = replayed(("in", "1", trade(1)), ("close", "1", "line lost"), ("in", "2", trade(2)))
    assert [(gap.phase, gap.repair) for gap in out if isinstance(gap, Gap)] == [("open", None), ("close", "not_needed")]


def test_a_connection_that_was_replaced_leaves_no_gap() -> None:
    lines = (("open", "1", ""), ("in", "1", trade(1)), ("open", "2", ""), ("in", "2", trade(2)))
    assert told(replayed(*lines, ("close", "1", "no longer wanted"), ("in", "2", trade(3)))) == []


def test_connections_side_by_side_give_each_trade_once() -> None:
    heard = [("in", line, trade(number)) for number in range(1, 5) for line in ("1", "2")]
    out = replayed(("open", "1", ""), ("in", "1", trade(0)), ("open", "2", ""), *heard, ("close", "2", "line lost"))
    assert [r.sequence for r in out if isinstance(r, Trade)] == [0, 1, 2, 3, 4]
    assert told(out) == []


def test_a_connection_that_is_over_before_its_successor_has_a_book_leaves_a_gap_until_then() -> None:
    answer = ("rest", f"{REST}/book/A", '{"n": 6}')
    deltas = [f'{{"s": "A", "n": {number}, "bid": "2"}}' for number in range(7, 10)]
    out = replayed(
        ("open", "1", ""), ("in", "1", deltas[0]), answer, ("open", "2", ""), ("in", "2", deltas[1]),
        ("close", "1", "no longer wanted"), ("in", "2", deltas[2]), ("rest", f"{REST}/book/A", '{"n": 8}'),
    )  # fmt: skip
    assert told(out) == [("open", "disconnect", None), ("close", "disconnect", None)]
    kinds = [type(record).__name__ for record in out if isinstance(record, Gap | BookSnapshot)]
    assert kinds == ["BookSnapshot", "Gap", "BookSnapshot", "Gap"]


def test_the_end_of_the_program_is_its_own_cause() -> None:
    assert told(replayed(("in", "1", trade(1)), ("close", "1", "no longer wanted"))) == [("open", "restart", None)]


def test_an_answer_is_for_the_newest_connection_that_wants_it() -> None:
    delta = '{"s": "A", "n": 7, "bid": "2"}'
    out = replayed(("in", "1", delta), ("in", "2", delta), ("rest", f"{REST}/book/A", '{"n": 6}'))
    assert [r.conn for r in out if isinstance(r, BookSnapshot)] == ["toy/main.1#2/snapshot"]


def test_an_answer_that_was_a_refusal_is_none() -> None:
    delta = '{"s": "A", "n": 7, "bid": "2"}'
    out = replayed(("in", "1", delta), ("rest", f"{REST}/book/A", '{"n": 6}'), status=503)
    assert [r for r in out if isinstance(r, BookSnapshot | Gap)] == []


# --- frames of one connection, one behind the other


FRAMES = Path(__file__).parents[1] / "frames"


def lines_of(id: str, conn: str, url: str) -> list[CaptureLine]:
    """The frames of an exchange of today, some a second time, with rubbish between them: a few of each moment."""
    exchange = load_exchange(id)
    assert exchange is not None
    older = {stream.name for stream in exchange.archived}
    rows = [json.loads(row) for row in (FRAMES / f"{id}.jsonl").read_text().splitlines()]
    frames = [str(row["frame"]) for row in rows if "frame" in row and row.get("stream") not in older]
    texts = [
        text for at, frame in enumerate(frames) for text in (frame, "{", "{", frame) if at % 3 == 0 or text == frame
    ]
    about = {"conn": conn, "url": url or None, "ends": True}
    lines = [CaptureLine(ts="1700000000", dir="open", **about)]  # type: ignore[arg-type]
    for at, text in enumerate(texts):
        line = CaptureLine(ts=str(1_700_000_000 + at // 11), dir="in", raw=text, conn=conn, url=url or None)
        if at % 7 == 6:
            line.raw, line.raw_b64 = None, base64.b64encode(text.encode()).decode()
        lines.append(line)
    return [*lines, CaptureLine(ts="1700009999", dir="close", conn=conn, raw="gone")]


def odd(lines: list[CaptureLine], conn: str) -> list[CaptureLine | BadFrame]:
    """The same with times of their own, some of which run back or are none, and between them what is no such frame."""
    found: list[CaptureLine | BadFrame] = []
    for at, line in enumerate(lines):
        whole = str(line.ts)
        found.append(structs.replace(line, ts=whole if at % 31 == 0 else f"{whole}.{at % 11:02d}" + "0" * (at % 3)))
        if at % 13 == 4:
            found.append(structs.replace(line, ts=["1699999999.5", "yesterday", None][at % 3]))
        if at % 17 == 5:
            found.append(structs.replace(line, conn=f"{conn}2", url="wss://elsewhere.example" if at % 2 else line.url))
        if at % 19 == 6:
            found += [BadFrame("no line"), structs.replace(line, raw=" " * WEIGHED_BYTES + (line.raw or ""))]
        if at % 23 == 7:
            found += [structs.replace(line, raw="\ud800"), structs.replace(line, raw=None, raw_b64="-")]
        if at % 29 == 8:
            found.append(structs.replace(line, dir=["out", "rest", "open"][at % 3]))
    return found


Told = tuple[list[Record], list[tuple[int, str]], list[str]]


def fed(exchange: Exchange, lines: list[CaptureLine | BadFrame], *, runs: bool) -> tuple[Told, int]:
    """What comes of lines: records, errors and unknown words; and how many went by the longest run."""
    replay, out, bad, longest, at = Replay(exchange, []), list[Record](), list[tuple[int, str]](), 0, 0
    block = CaptureBlock(1, lines, times_of(lines))
    while at < len(lines):
        line, count = lines[at], replay.feed_run(block, at, out) if runs else 0
        try:
            if isinstance(line, BadFrame):
                raise line
            out += [] if count else replay.feed(line)
        except (BadFrame, ValueError) as error:
            bad.append((at, str(error)))
        longest, at = max(longest, count), at + (count or 1)
        bad += [(at - 1, f"{one.error}: {one.frame!r}") for one in replay.bad_frames]
        replay.bad_frames.clear()
    return (out + replay.end(), bad, replay.words.news), longest


@pytest.mark.parametrize("id", ["binance", "bitget", "coinbaseexchange", "htx", "kraken", "okx"])
@pytest.mark.parametrize("is_named", [False, True])
@pytest.mark.parametrize("is_odd", [False, True])
def test_frames_give_together_what_they_give_alone(id: str, is_named: bool, is_odd: bool) -> None:
    exchange = load_exchange(id)
    assert exchange is not None
    stream = exchange.streams[0]
    url = stream.url if isinstance(stream.url, str) else stream.url(())
    conn = f"{id}/{stream.name}.1#1" if is_named else "a"
    lines = lines_of(id, conn, url)
    mixed: list[CaptureLine | BadFrame] = odd(lines, conn) if is_odd else [*lines]
    alone, _ = fed(exchange, mixed, runs=False)
    together, longest = fed(exchange, mixed, runs=True)
    assert together == alone
    assert alone[1]
    assert longest > 1


@pytest.mark.parametrize("id", ["binance", "bitget", "coinbaseexchange", "kraken", "okx"])
@pytest.mark.parametrize("is_named", [False, True])
def test_a_session_that_is_known_beforehand_is_the_one_that_is_found_anew(
    monkeypatch: pytest.MonkeyPatch, id: str, is_named: bool
) -> None:
    """Over connections that end, frames that cannot be read, and days of another format."""
    exchange = load_exchange(id)
    assert exchange is not None
    told: list[list[Record]] = []
    bad: list[list[tuple[str, bytes]]] = []
    went = 0
    for is_direct in (True, False):
        replay, out, unread = Replay(exchange, []), list[Record](), list[tuple[str, bytes]]()
        with monkeypatch.context() as patch:
            if not is_direct:
                patch.setattr(Replay, "_go_directly", lambda *_: None)
            for day in (0, 1, 0):
                for number, stream in enumerate(exchange.streams * 2):
                    url = stream.url if isinstance(stream.url, str) else stream.url(())
                    conn = f"{id}/{stream.name}.1#{number}" if is_named else "a"
                    for line in lines_of(id, conn, url)[: -1 if number % 2 else None]:
                        line.ts = str(float(line.ts or 0) + day * 86400)
                        out += replay.feed(line)
                        went += bool(replay._direct)
                        unread += [(str(one.error), one.frame) for one in replay.bad_frames]
                        replay.bad_frames.clear()
        told.append(out + replay.end())
        bad.append(unread)
    assert told[0] == told[1]
    assert bad[0] == bad[1]
    assert went > 0


@pytest.mark.parametrize(
    "ts", ["", ".5", "1e3", "-1", "12345678901", "1.2.3", "1,5", "\u0661", "1.\u0662", " 1", "1 ", "+1", "1_0"]
)
def test_what_is_no_time_is_said(ts: str) -> None:
    with pytest.raises(BadFrame, match="is not a time in decimal seconds"):
        assert CaptureLine(ts=ts).time


@pytest.mark.parametrize(
    ("ts", "time"),
    [
        ("0", 0),
        ("1.", 10**9),
        ("1.5", 15 * 10**8),
        ("1700000000.123456789", 1700000000123456789),
        ("1.0000000019", 10**9 + 1),
    ],
)
def test_a_time_is_exact_to_the_nanosecond(ts: str, time: int) -> None:
    assert CaptureLine(ts=ts).time == time


@pytest.mark.parametrize(
    ("known", "url", "symbol"),
    [
        (["btc_jpy"], "https://x.test/depth?coin=btc_jpy", "btc_jpy"),
        ([], "https://x.test/depth?coin=btc_jpy", "BTC_JPY"),
        ([], "https://x.test/depth?coin=", None),
        ([], "https://x.test/trades?coin=btc_jpy", None),
    ],
)
def test_a_symbol_that_an_address_has_in_small_letters_is_found(known: list[str], url: str, symbol: str | None) -> None:
    def request(raw_symbol: str) -> Request:
        return Request(f"https://x.test/depth?coin={raw_symbol.lower()}")

    assert asked_for(request, url, known) == symbol
    assert asked_for(lambda raw_symbol: Request(f"https://x.test/{raw_symbol}"), "https://x.test/a-b", []) == "a-b"


@pytest.mark.parametrize(
    ("write", "url", "symbol"),
    [
        (str.upper, "https://x.test/BTC_JPY/depth", "btc_jpy"),
        (lambda name: name.replace("/", "-"), "https://x.test/BTC-JPY/depth", "BTC/JPY"),
        (lambda name: name.replace("/", "%2F"), "https://x.test/BTC%2FJPY/depth", "BTC/JPY"),
        (lambda name: name.replace("_", "/"), "https://x.test/btc/jpy/depth", "btc_jpy"),
        (lambda name: "base={}&quote={}".format(*f"{name}-".split("-")), "https://x.test/base=a&quote=b/depth", "a-b"),
        (lambda name: "base={}&quote={}".format(*f"{name}-".split("-")), "https://x.test/base=&quote=b/depth", None),
        (str, "https://x.test/%E9%BE%99_usdt/depth", "龙_usdt"),
    ],
)
def test_a_symbol_that_an_address_spells_in_another_way_is_found(
    write: Callable[[str], str], url: str, symbol: str | None
) -> None:
    assert asked_for(lambda raw_symbol: Request(f"https://x.test/{write(raw_symbol)}/depth"), url, []) == symbol


@pytest.mark.parametrize(
    ("id", "poll", "raw_symbol"),
    [
        ("independentreserve", "trades", "Xbt-Aud"),
        ("wavesexchange", "trades", "WAVES-8LQW8f7P5d5PZM7GtZEBgaqRPGSzS3DfPuiXrURJ4AJS"),
        ("bitteam", "trades", "btc_usdt"),
        ("revolutx", "trades", "ABC/USD"),
    ],
)
def test_an_answer_says_by_its_address_whose_it_is(id: str, poll: str, raw_symbol: str) -> None:
    exchange = load_exchange(id)
    assert exchange is not None
    request = next(each.request for each in exchange.polls if each.name == poll)
    assert asked_for(request, request(raw_symbol).url, []) == raw_symbol
