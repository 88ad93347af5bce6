"""Derived topics over every transport: what docs/feed.md says of them."""

import asyncio
import json
import time
from pathlib import Path

import pytest

from aggregator.bus.bus import Bus
from aggregator.feed.access import EVERYTHING, Gate, Token, hash_of
from aggregator.feed.hub import FeedHub
from aggregator.records import SECOND_NS, Bbo, Gap, Health, Ticker, Trade
from tests.feed.test_feed import Market, Row, Spot, both, eventually, peer, serving, spot, subscriber, trade
from tests.support.views import Fixed

__all__ = ["spot"]  # the fixture of every transport
pytestmark = pytest.mark.waits


def best(market: Market, name: str) -> tuple[list[str], list[str]]:
    """The best price of each side with its size; an empty side has none."""
    model = market.models[name]
    bids, asks = ([(float(p), p, s) for p, s in side.items()] for side in (model.bids, model.asks))
    return [*max(bids, default=(0, "", ""))[1:]], [*min(asks, default=(0, "", ""))[1:]]


def told(row: Row) -> tuple[list[str], list[str]]:
    bid = [row.get("bid_price", ""), row.get("bid_size", "")]
    return bid, [row.get("ask_price", ""), row.get("ask_size", "")]


async def _best_prices(spot: Spot) -> None:
    bus = Bus("epoch")
    market = Market(bus, ["BTCUSD", "ETHUSD"])
    async with serving(spot, bus=bus) as (_, server):
        bus.publish([market.snapshot("BTCUSD", "initial"), market.snapshot("ETHUSD", "initial")])
        for _ in range(50):
            bus.publish([market.delta("BTCUSD")])
        async with peer(spot) as client, peer(spot) as second:
            await client.row()
            await second.row()
            answer = await client.ask({"op": "subscribe", "topics": ["bbo.book:alpha:BTC/USD"], "id": 5})
            assert answer == {"type": "subscribed", "topics": ["bbo.book:alpha:BTC/USD"], "matched": 1, "id": 5}
            first = await client.row()
            assert (first["type"], first["symbol"], first["offset"]) == ("bbo", "BTC/USD", bus.offset)
            assert (first["source"], first["conn"], first["origin"]) == ("derived", "derived/bbo.book", "book")
            assert told(first) == best(market, "BTCUSD")
            assert (await second.ask("bbo.book:alpha:*"))["matched"] == 2
            began = [await second.row(), await second.row()]  # one was at work already, one begins
            assert {row["symbol"]: told(row) for row in began} == {
                "BTC/USD": best(market, "BTCUSD"),
                "ETH/USD": best(market, "ETHUSD"),
            }
            expected: list[tuple[list[str], list[str]]] = []
            before = best(market, "BTCUSD")
            for _ in range(300):
                bus.publish([market.delta("BTCUSD")])
                if best(market, "BTCUSD") != before:
                    before = best(market, "BTCUSD")
                    expected.append(before)
            assert len(expected) > 20
            for reader in (client, second):
                assert [told(await reader.row()) for _ in expected] == expected
            names = await client.ask({"op": "topics", "topics": ["bbo.book:*:*"]})
            assert names["topics"] == ["bbo.book:alpha:BTC/USD", "bbo.book:alpha:ETH/USD"]
            assert (await second.ask({"op": "unsubscribe"}))["topics"] == ["bbo.book:alpha:*"]
            names = await client.ask({"op": "topics", "topics": ["bbo.book:*:*"]})
            assert names["topics"] == ["bbo.book:alpha:BTC/USD"]
            client.writer.transport.abort()

            def is_released() -> bool:
                bus.publish([market.delta("BTCUSD")])  # over TCP who has left is found when something is sent
                return not server.hub._derived.is_active

            await eventually(is_released)


test_best_prices_of_books_are_computed_once_for_all_and_released = both(_best_prices)


async def _levels(spot: Spot) -> None:
    bus = Bus("epoch")
    market = Market(bus, ["BTCUSD"])
    async with serving(spot, bus=bus), peer(spot) as client:
        bus.publish([market.snapshot("BTCUSD", "initial")])
        for _ in range(50):
            bus.publish([market.delta("BTCUSD")])
        await client.row()
        ask = {"op": "subscribe", "topics": ["book:alpha:BTC/USD"], "depth": 3, "interval_ms": 50}
        answer = await client.ask(ask)
        assert answer["topics"] == ["book.3.50ms:alpha:BTC/USD"]
        start = asyncio.get_running_loop().time()
        rows = [await client.row()]
        for _ in range(40):
            bus.publish([market.delta("BTCUSD"), market.delta("BTCUSD")])
            await asyncio.sleep(0.005)
        book = market.models["BTCUSD"]
        bids = sorted(book.bids.items(), key=lambda level: -float(level[0]))[:3]
        while rows[-1]["bids"] != [[*level] for level in bids]:
            rows.append(await client.row())
        took = asyncio.get_running_loop().time() - start
        assert 2 <= len(rows) <= took / 0.05 + 2, "at most one in each interval, and the last as it is"
        for row in rows:
            assert (row["type"], row["depth"], row["conn"]) == ("book_snapshot", 3, "derived/book.3.50ms")
            assert len(row["bids"]) <= 3
        assert (await client.ask({"op": "unsubscribe", "topics": answer["topics"]}))["type"] == "unsubscribed"


test_the_best_levels_come_whole_at_an_interval = both(_levels)


async def _conflated(spot: Spot) -> None:
    async with serving(spot) as (bus, _), subscriber(spot, "trades:alpha:*") as client:
        ask = {"op": "subscribe", "topics": ["ticker:*:*", "bbo:*:*"], "interval_ms": 60}
        assert (await client.ask(ask))["topics"] == ["ticker.60ms:*:*", "bbo.60ms:*:*"]
        names = {"exchange": "alpha", "symbol": "BTC/USD", "raw_symbol": "BTCUSD", "ts_recv": 1}
        for number in range(30):
            bus.publish([Ticker(**names, last=str(number)), Bbo(**names, bid_price=str(number)), trade()])  # type: ignore[arg-type]
        rows = [await client.row() for _ in range(34)]
        assert [row["type"] for row in rows].count("trade") == 30, "ordinary topics come as ever beside them"
        assert [row["last"] for row in rows if row["type"] == "ticker"] == ["0", "29"]
        assert [row["bid_price"] for row in rows if row["type"] == "bbo"] == ["0", "29"]


test_an_interval_keeps_the_newest = both(_conflated)


def quote(exchange: str, bid: str, ask: str) -> Bbo:
    now = time.time_ns()
    names = {"exchange": exchange, "symbol": "BTC/USD", "raw_symbol": "XBTUSD", "conn": f"{exchange}/1#1"}
    return Bbo(**names, ts_recv=now, bid_price=bid, bid_size="1", ask_price=ask, ask_size="2")  # type: ignore[arg-type]


async def _consolidated(spot: Spot) -> None:
    bus = Bus("epoch")
    market = Market(bus, ["BTCUSD"])  # of alpha, which tells no best prices of its own
    async with serving(spot, bus=bus), peer(spot) as client, peer(spot) as second:
        await client.row()
        await second.row()
        bus.publish([market.snapshot("BTCUSD", "initial"), quote("beta", "1", "1000"), quote("gamma", "2", "900")])
        for _ in range(50):
            bus.publish([market.delta("BTCUSD")])
        assert (await client.ask("consolidated:*:BTC/USD"))["matched"] == 1
        first = await client.row()
        assert (first["type"], first["exchange"], first["symbol"]) == ("consolidated", "*", "BTC/USD")
        assert (first["source"], first["conn"]) == ("derived", "derived/consolidated")
        bid, ask = best(market, "BTCUSD")
        assert [first[name] for name in ("bid_price", "bid_size", "bid_exchange")] == [*bid, "alpha"]
        assert [each[0] for each in first["contributors"]] == ["alpha"], "of the others nothing is known yet"
        bus.publish([quote("beta", "999", "1000")])
        row = await client.row()
        assert (row["bid_exchange"], row["bid_price"], row["ask_exchange"]) == ("beta", "999", "alpha")
        assert [each[0] for each in row["contributors"]] == ["alpha", "beta"]
        assert row["contributors"][0][3:] == [*bid, *ask]
        names = {"exchange": "beta", "symbol": "BTC/USD", "raw_symbol": "XBTUSD", "conn": "beta/1#1"}
        bus.publish([Health(**names, ts_recv=time.time_ns(), channel="bbo", state="stalled")])  # type: ignore[arg-type]
        row = await client.row()
        assert (row["bid_exchange"], row["absent"][0][:2]) == ("alpha", ["beta", "stalled"])
        answer = await second.ask({"op": "subscribe", "topics": ["consolidated:*:BTC/USD"], "numbers": "float"})
        assert answer["matched"] == 1
        shown = await second.row()
        assert (shown["bid_price"], shown["contributors"][0][3]) == (float(bid[0]), float(bid[0]))
        answer = await client.ask("consolidated:*:XYZ/USD")
        assert answer["reasons"] == ["consolidated:*:XYZ/USD: no exchange is followed yet that has bbo or book of it"]


test_the_best_prices_over_exchanges = both(_consolidated)


def at(ns: int, price: str) -> Trade:
    names = {"exchange": "alpha", "symbol": "BTC/USD", "raw_symbol": "BTCUSD", "conn": "alpha/1#1"}
    return Trade(**names, ts_event=ns, ts_recv=ns, price=price, size="0.1", base_size="0.1")  # type: ignore[arg-type]


async def _bars(spot: Spot) -> None:
    minute = 60 * SECOND_NS
    now = time.time_ns()
    begin = now - now % minute + 10 * minute  # what began before is not complete
    async with serving(spot) as (bus, _), peer(spot) as client:
        await client.row()
        bus.publish([at(now, "1")])
        topics = ["candles.1m:*:BTC/USD", "candles.2trades:alpha:BTCUSD"]
        assert (await client.ask(" ".join(topics)))["matched"] == 2
        await asyncio.sleep(0.05)  # the time at which it begins is that of the clock, not of these trades to come
        bus.publish([at(begin, "1.0"), at(begin + 1, "3"), at(begin + 2, "2")])
        bus.publish([at(begin + minute, "4"), at(begin + 3, "0.5")])
        rows = [await client.row() for _ in range(4)]
        assert {row["type"] for row in rows} == {"candle"}
        timed = [row for row in rows if row["interval"] == "1m"]
        prices = [[row[name] for name in ("open", "high", "low", "close", "base_volume")] for row in timed]
        assert prices == [["1.0", "3", "1.0", "2", "0.3"], ["1.0", "3", "0.5", "0.5", "0.4"]]
        assert [(row["complete"], row["closed"], row.get("flags")) for row in timed] == [
            (True, True, None),
            (True, True, ["late"]),
        ]
        counted = [row for row in rows if row["interval"] == "2trades"]
        assert [(row["open"], row["close"], row["conn"]) for row in counted] == [
            ("1.0", "3", "derived/candles.2trades"),
            ("2", "4", "derived/candles.2trades"),
        ]


test_bars_of_trades = both(_bars)


async def _clock(spot: Spot) -> None:
    async with serving(spot) as (bus, _), subscriber(spot, "candles.100ms:*:*") as client:
        now = time.time_ns()
        bus.publish([at(now, "7")])
        row = await client.row()
        assert (row["close"], row["closed"], row["ts_close"] - row["ts_open"]) == ("7", True, 100_000_000)
        assert time.time_ns() >= row["ts_close"] + 2 * SECOND_NS


test_a_bar_closes_by_the_clock = both(_clock)


async def _gaps_and_states(spot: Spot) -> None:
    bus = Bus("epoch")
    names = {"exchange": "alpha", "symbol": "BTC/USD", "raw_symbol": "BTCUSD", "channel": "book"}
    bus.views.add("alpha", Fixed([], [Health(**names, state="syncing", conn="alpha/1#1")]))  # type: ignore[arg-type]
    async with serving(spot, bus=bus), peer(spot) as client:
        await client.row()
        assert (await client.ask("book.5:alpha:BTC/USD"))["matched"] == 1
        state = await client.row()
        assert (state["type"], state["state"], state["conn"]) == ("health", "syncing", "derived/book.5/alpha/1#1")
        bus.publish([Gap(**names, conn="alpha/1#1", gap_id="g", phase="open", cause="sequence", ts_from=1)])  # type: ignore[arg-type]
        gap = await client.row()
        assert (gap["type"], gap["gap_id"], gap["conn"]) == ("gap", "g", "derived/book.5/alpha/1#1")


test_gaps_and_states_come_with_a_derived_topic = both(_gaps_and_states)


async def _refusals(spot: Spot) -> None:
    async with serving(spot) as (bus, server), peer(spot) as client:
        await client.row()
        bus.publish([trade("BTC/USD")])
        for topics, extra, reason in (
            (["trades:*:*"], {"interval_ms": 100}, "each record of trades counts"),
            (["trades:*:*"], {"depth": 5}, "is no book"),
            (["book:*:*"], {"depth": 0}, "is no number of levels"),
            (["book:*:*"], {"interval_ms": 1}, "is no interval"),
            (["*:*:*"], {"interval_ms": 100}, "is no derived channel"),
            (["bbo.top:*:*"], {}, "is no derived channel; those are"),
        ):
            answer = await client.ask({"op": "subscribe", "topics": topics, "id": 1, **extra})
            assert (answer["type"], answer["id"]) == ("error", 1)
            assert reason in answer["error"], answer
        assert server.status().subscribers[0].topics == []
        answer = await client.ask("bbo.book:alpha:BTC/USD")
        assert (answer["type"], answer["matched"]) == ("subscribed", 0)
        assert answer["reasons"] == [
            "bbo.book:alpha:BTC/USD: it is computed of book, and of this market only trades is followed"
        ]
        assert "nothing of XYZ is followed at alpha yet" in (await client.ask("book.5:alpha:XYZ"))["reasons"][0]
        assert "reasons" not in await client.ask("book.5:alpha:*")


test_what_cannot_be_derived_is_answered_with_the_reason = both(_refusals)


async def _lag(spot: Spot) -> None:
    """A derived topic's reader that is too slow is told what it lost, as everyone is."""
    bus = Bus("epoch")
    market = Market(bus, ["BTCUSD"])
    async with serving(spot, bus=bus, ring=50), peer(spot, ahead=1000) as client:
        bus.publish([market.snapshot("BTCUSD", "initial")])
        await client.row()
        await client.ask({"op": "subscribe", "topics": ["book.20:alpha:BTC/USD"], "snapshot": False})
        client.pause()
        for _ in range(4000):
            bus.publish([market.delta("BTCUSD")])
            if bus.offset % 20 == 0:
                await asyncio.sleep(0)
        client.resume()
        rows = [await client.row()]
        book = market.models["BTCUSD"]
        bids = sorted(book.bids.items(), key=lambda level: -float(level[0]))[:20]
        while rows[-1]["type"] == "lag" or rows[-1]["bids"] != [[*level] for level in bids]:
            rows.append(await client.row())
        lags = [row for row in rows if row["type"] == "lag"]
        assert lags
        offsets = [row["offset"] for row in rows]
        assert offsets == sorted(offsets)


test_who_is_too_slow_is_told = both(_lag)


class Heard:
    """A peer that keeps nothing back."""

    name, host, unsent = "test", "", 0

    def wake(self) -> None: ...
    def finish(self) -> None: ...
    def close(self) -> None: ...


async def test_a_token_allows_what_is_derived_of_what_it_allows(tmp_path: Path) -> None:
    bus = Bus("epoch")
    hub = FeedHub(bus, ring=10, max_clients=10, gate=Gate([Token("desk", hash_of("t"), ("book:alpha:*",))]))
    hub.start()
    one = hub.welcome(Heard(), None)
    one.hear(b'{"op":"auth","token":"t"}')
    one.hear(b"bbo.book:alpha:BTC/USD")
    one.hear(b"bbo.100ms:alpha:BTC/USD")
    one.hear(b"bbo.book:beta:BTC/USD")
    rows = [json.loads(line) for line in one.refill().splitlines()][-3:]
    assert [row["type"] for row in rows] == ["subscribed", "error", "error"]
    assert "bbo.100ms:alpha:BTC/USD' is not among the topics" in rows[1]["error"]
    one.gone()


async def test_nothing_is_done_for_a_record_while_nobody_asks() -> None:
    bus = Bus("epoch")
    hub = FeedHub(bus, ring=10, max_clients=10)
    hub.start()
    bus.attach(hub.publish)
    hub._derived.take = None  # type: ignore[assignment,method-assign] # it would be called
    one = hub.welcome(Heard(), EVERYTHING)
    one.hear(b"*:*:*")
    one.refill()
    bus.publish([trade()])
    await asyncio.sleep(0)
    assert b'"trade"' in one.refill()
