"""BigONE: candles of pairs are asked for by a request whose number names their period."""

import json

from aggregator.exchange import Subscription
from connectors.bigone import EXCHANGE

SPOT = EXCHANGE.streams[0]


def test_a_request_for_candles_names_their_period_in_its_number() -> None:
    (frame,) = SPOT.subscribe([Subscription("candles", "BTC-USDT", "3h")], 7)
    asked = {"market": "BTC-USDT", "period": "HOUR3"}
    assert json.loads(frame) == {"requestId": "7-HOUR3", "subscribeMarketCandlesRequest": asked}
    assert SPOT.unsubscribe is not None
    (left,) = SPOT.unsubscribe([Subscription("candles", "BTC-USDT", "3h")], 8)
    assert json.loads(left) == {"requestId": "leave", "unsubscribeMarketCandlesRequest": asked}


def test_a_request_for_trades_has_a_number_alone() -> None:
    (frame,) = SPOT.subscribe([Subscription("trades", "BTC-USDT")], 7)
    assert json.loads(frame)["requestId"] == "7"
