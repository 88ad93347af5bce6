"""WOO X: which book is asked for where."""

import json

from aggregator.exchange import Stream, Subscription
from aggregator.records import BookSnapshot, Instrument
from aggregator.session.moment import Now
from aggregator.session.session import Session
from connectors.woo import EXCHANGE

NOW = Now(1_763_700_000_000_000_000, 10**12)


def serving(kind: str) -> dict[str, Stream]:
    """The streams of one kind of instrument, by name."""
    instrument = Instrument(raw_symbol="SPOT_ETH_USDT" if kind == "spot" else "PERP_ETH_USDT", kind=kind)  # type: ignore[arg-type]
    return {stream.name: stream for stream in EXCHANGE.streams if stream.serves(instrument)}


def asked(stream: Stream, raw_symbol: str) -> list[str]:
    (frame,) = stream.subscribe([Subscription("book", raw_symbol)], 1)
    topics: list[str] = json.loads(frame)["params"]
    return topics


def test_a_spot_book_is_had_whole_each_time() -> None:
    streams = serving("spot")
    assert list(streams) == ["spot"]
    assert asked(streams["spot"], "SPOT_ETH_USDT") == ["orderbook10@SPOT_ETH_USDT"]
    assert streams["spot"].snapshot is None
    assert streams["spot"].depth == 10


def test_a_book_of_a_perpetual_is_had_by_its_changes() -> None:
    streams = serving("perpetual")
    assert list(streams) == ["main", "perpetuals"]
    assert asked(streams["main"], "PERP_ETH_USDT") == ["orderbookupdate@PERP_ETH_USDT@50"]
    assert streams["main"].snapshot is not None


def test_what_is_left_is_left_in_the_words_of_the_exchange() -> None:
    leave = serving("spot")["spot"].unsubscribe
    assert leave is not None
    (frame,) = leave([Subscription("book", "SPOT_ETH_USDT")], 7)
    assert json.loads(frame) == {"id": "7", "cmd": "UN_SUBSCRIBE", "params": ["orderbook10@SPOT_ETH_USDT"]}


def test_each_whole_spot_book_takes_the_place_of_the_one_before() -> None:
    session = Session(
        "woo",
        serving("spot")["spot"],
        conn="woo/spot/1",
        instruments={},
        subscriptions=[Subscription("book", "SPOT_ETH_USDT")],
    )
    session.open(NOW)
    for ts, bid in ((1_763_700_000_004, "2801.4"), (1_763_700_000_204, "2801.3")):
        data = {"ts": ts, "bids": [[bid, "1.5"]], "asks": [["2801.6", "3"]], "s": "SPOT_ETH_USDT"}
        frame = json.dumps({"topic": "orderbook10@SPOT_ETH_USDT", "ts": ts + 8, "data": data}, separators=(",", ":"))
        (told,) = [r for r in session.receive([frame.encode()], NOW) if isinstance(r, BookSnapshot)]
        assert (told.bids, told.reason) == ([(bid, "1.5")], "periodic")
    (book,) = session.books(NOW)
    assert book.bids == [("2801.3", "1.5")]
    assert not session.wanted
