"""What one frame alone cannot show of Deribit: states that are told when they change, and what is asked for."""

import json

from aggregator.catalog.registry import load_exchange
from aggregator.exchange import Since, Stream, Subscription
from aggregator.ingest.runner import for_streams
from aggregator.records import MS_NS, SECOND_NS, Record, Status
from aggregator.session.moment import Now
from aggregator.session.session import Session


def stream() -> Stream:
    exchange = load_exchange("deribit")
    assert exchange is not None
    return exchange.streams[0]


def tell(parse: object, channel: str, **data: object) -> list[Record]:
    said = {"jsonrpc": "2.0", "method": "subscription", "params": {"channel": channel, "data": data}}
    assert callable(parse)
    return [event for event in parse(json.dumps(said, separators=(",", ":")).encode()) if isinstance(event, Status)]


def ticker(parse: object, state: str) -> list[Record]:
    name = "BTC-PERPETUAL"
    return tell(parse, f"ticker.{name}.100ms", instrument_name=name, timestamp=1_781_000_000_000, state=state)


def test_a_state_is_told_when_it_changes() -> None:
    parser = stream().parser
    assert parser is not None
    parse = parser()
    found = [ticker(parse, state) for state in ("open", "open", "halted", "open")]
    assert [[s.state for s in records if isinstance(s, Status)] for records in found] == [
        ["trading"],
        [],
        ["halt"],
        ["trading"],
    ]


def test_the_exchange_is_in_doubt_until_the_last_index_is_unlocked() -> None:
    parser = stream().parser
    assert parser is not None
    parse = parser()
    locks = (("btc_usd", True), ("eth_usd", True), ("btc_usd", False), ("eth_usd", False))
    found = [tell(parse, "platform_state", price_index=index, locked=locked)[0] for index, locked in locks]
    assert [(s.state, s.reason) for s in found if isinstance(s, Status)] == [
        ("unknown", "locked: btc_usd"),
        ("unknown", "locked: btc_usd, eth_usd"),
        ("unknown", "locked: eth_usd"),
        ("trading", None),
    ]


def test_that_nothing_is_locked_is_told_once() -> None:
    """In September 2026 the exchange said so 2.6 times a second, of one index after another."""
    parser = stream().parser
    assert parser is not None
    parse = parser()
    found = [
        tell(parse, "platform_state", locked=False, price_index=index, reasons=[])
        for index in ("alt_usdc", "btc_usdc", "algo_usdc", "alt_usdc")
    ]
    assert [len(told) for told in found] == [1, 0, 0, 0]
    assert len(tell(parse, "platform_state", maintenance=True)) == 1
    assert tell(parse, "platform_state", maintenance=True) == []
    assert len(tell(parser(), "platform_state", locked=False, price_index="alt_usdc", reasons=[])) == 1


def test_beats_are_arranged_once_a_connection_before_anything_is_asked_for() -> None:
    wanted = [Subscription("trades", f"COIN{at}-PERPETUAL") for at in range(stream().batch + 1)]
    session = Session("deribit", stream(), conn="test", instruments={}, subscriptions=wanted)
    session.open(Now(0, 0))
    for ms in range(0, 5000, 100):
        session.tick(Now(ms * MS_NS, ms * MS_NS))
    session.subscribe([Subscription("trades", "BTC-PERPETUAL")], Now(5 * SECOND_NS, 5 * SECOND_NS))
    session.tick(Now(6 * SECOND_NS, 6 * SECOND_NS))
    beat, *others = [json.loads(frame)["method"] for frame in session.outbox]
    assert beat == "public/set_heartbeat"
    assert others == ["public/subscribe"] * 3


def test_liquidations_are_of_the_topic_of_trades_and_a_state_is_of_the_whole_exchange() -> None:
    wanted = [Subscription(channel, "BTC-PERPETUAL") for channel in ("trades", "liquidations", "funding", "status")]
    (frame,) = stream().subscribe(wanted, 7)
    said = json.loads(frame)
    topics = ["trades.BTC-PERPETUAL.100ms", "ticker.BTC-PERPETUAL.100ms", "platform_state"]
    assert (said["id"], said["method"], said["params"]["channels"]) == (7, "public/subscribe", topics)


def test_intervals_are_spelled_as_the_exchange_does() -> None:
    wanted = [Subscription("candles", "BTC_USDC", interval) for interval in ("1m", "1h", "1d")]
    *_, frame = stream().subscribe(wanted, 1)
    topics = [f"chart.trades.BTC_USDC.{resolution}" for resolution in ("1", "60", "1D")]
    assert json.loads(frame)["params"]["channels"] == topics


def test_to_leave_is_one_frame() -> None:
    unsubscribe = stream().unsubscribe
    assert unsubscribe is not None
    (frame,) = unsubscribe([Subscription("bbo", "BTC_USDC")], 3)
    assert json.loads(frame)["params"]["channels"] == ["quote.BTC_USDC"]


def test_missing_trades_are_asked_for_by_number_or_else_by_time() -> None:
    backfill = stream().backfill
    assert backfill is not None
    assert "start_seq=8&" in backfill.request("BTC-PERPETUAL", Since(7, 0)).url
    assert "start_timestamp=1781&" in backfill.request("BTC-PERPETUAL", Since(None, 1_781_000_000)).url


def test_every_instrument_has_a_place_within_the_32_connections() -> None:
    """5930 instruments in September 2026, with every channel; HTTP counts among the connections."""
    exchange = load_exchange("deribit")
    assert exchange is not None
    streams = for_streams(exchange.limits)
    assert streams == 28
    assert 5930 * len(exchange.streams[0].channels) <= streams * exchange.streams[0].per_connection
