"""What one frame alone cannot show of Bybit: tickers that come as changes, and topics that carry several channels."""

import json

from aggregator.catalog.registry import load_exchange
from aggregator.exchange import Parse, Stream, Subscription
from aggregator.records import Funding, OpenInterest, Record, Ticker

SNAPSHOT = {
    "symbol": "ETHUSDT",
    "lastPrice": "3120.45",
    "prevPrice24h": "3152.60",
    "volume24h": "671000.12",
    "openInterest": "801200.5",
    "openInterestValue": "2499994088",
    "fundingRate": "0.0001",
    "nextFundingTime": "1781020800000",
    "fundingIntervalHour": "8",
}


def stream_of(name: str) -> Stream:
    exchange = load_exchange("bybit")
    assert exchange is not None
    return next(stream for stream in exchange.streams if stream.name == name)


def connected(name: str) -> Parse:
    parser = stream_of(name).parser
    assert parser is not None
    return parser()


def tell(parse: Parse, type: str, **data: str) -> list[Record]:
    frame = {"topic": "tickers.ETHUSDT", "type": type, "data": {"symbol": "ETHUSDT", **data}, "cs": 1, "ts": 1781}
    return [event for event in parse(json.dumps(frame, separators=(",", ":")).encode()) if isinstance(event, Record)]


def args(stream: Stream, *wanted: Subscription) -> list[str]:
    (frame,) = stream.subscribe(wanted, 7)
    said = json.loads(frame)
    assert (said["op"], said["req_id"]) == ("subscribe", "7")
    return list(said["args"])


def test_a_change_is_filled_up_with_what_was_said_before() -> None:
    parse = connected("linear")
    tell(parse, "snapshot", **SNAPSHOT)
    (ticker,) = tell(parse, "delta", lastPrice="3121.00")
    assert isinstance(ticker, Ticker)
    assert (ticker.last, ticker.open, ticker.base_volume) == ("3121.00", "3152.60", "671000.12")
    (funding,) = tell(parse, "delta", fundingRate="-0.0002")
    assert isinstance(funding, Funding)
    assert (funding.rate, funding.interval_s, funding.ts_next) == ("-0.0002", 28_800, 1781020800 * 10**9)
    (interest,) = tell(parse, "delta", openInterest="801201")
    assert isinstance(interest, OpenInterest)
    assert (interest.size, interest.quote_value) == ("801201", None), "a value that was said before is of another price"


def test_a_change_gives_no_record_of_what_it_leaves_out() -> None:
    parse = connected("linear")
    tell(parse, "snapshot", **SNAPSHOT)
    assert tell(parse, "delta", bid1Price="3120.44", bid1Size="1") == []


def test_a_snapshot_forgets_what_was_said_before() -> None:
    parse = connected("linear")
    tell(parse, "snapshot", **SNAPSHOT)
    (ticker,) = tell(parse, "snapshot", lastPrice="3000")
    assert isinstance(ticker, Ticker)
    assert (ticker.last, ticker.open) == ("3000", None)


def test_connections_do_not_know_of_each_other() -> None:
    tell(connected("linear"), "snapshot", **SNAPSHOT)
    (ticker,) = tell(connected("linear"), "delta", lastPrice="3121.00")
    assert isinstance(ticker, Ticker)
    assert ticker.open is None


def test_a_topic_of_several_channels_is_asked_for_once() -> None:
    wanted = [Subscription(channel, "ETHUSDT") for channel in ("ticker", "funding", "mark_price", "book")]
    assert args(stream_of("linear"), *wanted) == ["tickers.ETHUSDT", "orderbook.200.ETHUSDT"]


def test_trades_of_options_are_asked_for_by_their_asset() -> None:
    wanted = [Subscription("trades", f"BTC-25DEC26-{strike}-C-USDT") for strike in (90_000, 95_000)]
    assert args(stream_of("option"), *wanted) == ["publicTrade.BTC"]


def test_intervals_are_spelled_as_the_exchange_does() -> None:
    wanted = [Subscription("candles", "BTCUSDT", interval) for interval in ("1m", "4h", "1d", "1M")]
    topics = [f"kline.{name}.BTCUSDT" for name in ("1", "240", "D", "M")]
    assert args(stream_of("spot"), *wanted) == topics


def test_the_status_of_many_instruments_is_one_topic() -> None:
    assert args(stream_of("status"), Subscription("status", "A"), Subscription("status", "B")) == ["system.status"]
