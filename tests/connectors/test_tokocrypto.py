"""Tokocrypto: which of its two hosts serves a market, and how that host calls it."""

import json

from aggregator.exchange import Stream, Subscription
from aggregator.records import Instrument, Trade
from aggregator.sequence import Verdict, spanning
from aggregator.session.moment import Now
from aggregator.session.session import Session
from connectors.tokocrypto import EXCHANGE

AT = 1_790_000_000_000_000_000
GLOBAL = Instrument(raw_symbol="BTCUSDT", base="BTC", quote="USDT")
HOME = Instrument(raw_symbol="BTC_IDR", base="BTC", quote="IDR")
TRADE = b'{"stream":"btcidr@trade","data":{"e":"trade","E":1,"s":"BTCIDR","t":7,"p":"1","q":"2","T":1,"m":true}}'


def stream(name: str) -> Stream:
    return next(stream for stream in EXCHANGE.streams if stream.name == name)


def test_a_market_is_served_by_one_host() -> None:
    served = {i.raw_symbol: [s.name for s in EXCHANGE.streams if s.serves(i)] for i in (GLOBAL, HOME)}
    assert served == {"BTCUSDT": ["main"], "BTC_IDR": ["next"]}


def test_a_market_of_the_new_engine_is_asked_for_by_its_hosts_name_and_told_by_the_listings() -> None:
    asked = [Subscription("trades", "BTC_IDR")]
    session = Session("tokocrypto", stream("next"), conn="test", instruments={"BTC_IDR": HOME}, subscriptions=asked)
    session.open(Now(AT, AT))
    assert [json.loads(frame)["params"] for frame in session.outbox] == [["btcidr@trade"]]
    trades = [record for record in session.receive([TRADE], Now(AT, AT)) if isinstance(record, Trade)]
    assert [(trade.raw_symbol, trade.side) for trade in trades] == [("BTC_IDR", "sell")]
    snapshot = stream("next").snapshot
    assert snapshot is not None
    assert snapshot.request is not None
    assert snapshot.request("BTC_IDR").url == "https://cloudme-toko.2meta.app/api/v1/depth?symbol=BTCIDR&limit=1000"


def test_its_changes_follow_the_number_before_them() -> None:
    rule = stream("next").sequence["book"]
    assert rule is spanning
    assert rule.joins(105, 110, 120, 100) is Verdict.NEXT, "the whole book is of a moment within the change"
    assert rule.follows(120, 200, 210, 120) is Verdict.NEXT
    assert rule.follows(120, 121, 210, 199) is Verdict.GAP
