"""BloFin: answers name topics as the requests do."""

import json

from aggregator.exchange import Subscription
from aggregator.records import Health
from aggregator.session.moment import Now
from aggregator.session.session import Session
from connectors.blofin import EXCHANGE

START = 1_795_168_800 * 10**9


def test_an_answer_confirms_all_channels_of_its_topic() -> None:
    wanted = [Subscription("bbo", "A-B"), Subscription("ticker", "A-B"), Subscription("candles", "A-B", "1h")]
    session = Session("blofin", EXCHANGE.streams[0], conn="main#1", instruments={}, subscriptions=wanted)
    session.open(Now(START, 0))
    asked = [json.loads(frame)["args"] for frame in session.outbox]
    assert asked == [[{"channel": name, "instId": "A-B"}] for name in ("tickers", "candle1H")]
    answers = [json.dumps({"event": "subscribe", "arg": args[0]}).encode() for args in asked]
    out = session.receive(answers, Now(START, 1))
    confirmed = {(r.channel, r.state) for r in out if isinstance(r, Health)}
    assert confirmed == {("bbo", "syncing"), ("ticker", "syncing"), ("candles", "syncing")}
