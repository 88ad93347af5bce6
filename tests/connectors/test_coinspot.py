"""CoinSpot's trades have no id: of overlapping answers each must come out once all the same."""

import json

from aggregator.records import Trade
from aggregator.session.moment import Now
from aggregator.session.polled import Polling
from connectors.coinspot import EXCHANGE

OLD = {"rate": 150000, "amount": 0.25, "solddate": "2026-11-20T10:00:00.000Z"}
NEW = {"rate": 150010, "amount": 0.5, "solddate": "2026-11-20T10:00:05.000Z"}


def test_a_trade_without_an_id_comes_once() -> None:
    trades = next(poll for poll in EXCHANGE.polls if poll.name == "trades")
    polling = Polling(EXCHANGE.id, trades, conn="test", instruments={})
    prices = []
    for at, orders in enumerate(([OLD], [NEW, OLD], [NEW, OLD])):
        records = polling.receive("btc", json.dumps({"status": "ok", "orders": orders}).encode(), Now(at, at))
        prices += [record.price for record in records if isinstance(record, Trade)]
    assert prices == ["150000", "150010"]
