"""Backpack: liquidations of all markets come in one stream, whose name in its documentation has no symbol."""

import json

from aggregator.exchange import Stream, Subscription
from aggregator.records import Instrument, Liquidation
from aggregator.session.moment import Now
from aggregator.session.session import Session
from connectors.backpack import EXCHANGE

AT = 1_795_168_800 * 10**9
NAMES = ("BTC_USDC_PERP", "SOL_USDC_PERP", "ETH_USDC_PERP")
WANTED = [Subscription("liquidations", name) for name in NAMES[:2]]


def contracts() -> Stream:
    return next(stream for stream in EXCHANGE.streams if stream.name == "contracts")


def opened() -> Session:
    known = {name: Instrument(raw_symbol=name, kind="perpetual") for name in NAMES}
    session = Session("backpack", contracts(), conn="test", instruments=known, subscriptions=WANTED)
    session.open(Now(AT, AT))
    return session


def asked(session: Session) -> list[object]:
    frames = [json.loads(frame) for frame in session.outbox]
    session.outbox.clear()
    return frames


def liquidation(name: str) -> bytes:
    data = {"e": "liquidation", "E": 1, "T": 1, "s": name, "S": "Bid", "p": "18.70", "q": "10"}
    return json.dumps({"stream": "liquidation", "data": data}).encode()


def test_liquidations_of_all_contracts_are_asked_for_once() -> None:
    assert asked(opened()) == [{"method": "SUBSCRIBE", "params": ["liquidation"]}]


def test_those_of_markets_that_nobody_wants_are_passed_over() -> None:
    records = opened().receive([liquidation(name) for name in NAMES], Now(AT, AT))
    assert [r.raw_symbol for r in records if isinstance(r, Liquidation)] == list(NAMES[:2])


def test_the_stream_is_left_with_the_last_market_that_is_wanted() -> None:
    session = opened()
    asked(session)
    session.unsubscribe(WANTED[:1], Now(AT, AT))
    assert asked(session) == []
    session.unsubscribe(WANTED[1:], Now(AT, AT))
    assert asked(session) == [{"method": "UNSUBSCRIBE", "params": ["liquidation"]}]
