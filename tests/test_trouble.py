"""Answers by REST whose errors come with HTTP 200: the exchange's words are read, and whether it was asked too much."""

import pytest

from aggregator.exchange import Trouble
from aggregator.registry import load_exchange

LOCKED = "EGeneral:Temporary lockout"


@pytest.mark.parametrize(
    ("id", "body", "trouble"),
    [
        ("kraken", '{"error":["EGeneral:Temporary lockout"]}', Trouble(LOCKED, is_busy=True)),
        ("kraken", '{"error":["EAPI:Rate limit exceeded"]}', Trouble("EAPI:Rate limit exceeded", is_busy=True)),
        ("kraken", '{"error":["EQuery:Unknown asset pair"]}', Trouble("EQuery:Unknown asset pair")),
        ("kraken", '{"error":["WGeneral:Deprecated"],"result":{}}', None),
        ("kraken", '{"error":[],"result":{"XXBTZUSD":{}}}', None),
        ("krakenfutures", '{"result":"error","error":"apiLimitExceeded"}', Trouble("apiLimitExceeded", is_busy=True)),
        ("krakenfutures", '{"result":"error","error":"Server Error"}', Trouble("Server Error")),
        ("krakenfutures", '{"result":"success","instruments":[]}', None),
        ("btcbox", '{"result":false,"code":"102"}', Trouble("code 102")),
        ("btcbox", '{"asks":[],"bids":[]}', None),
        ("btcbox", "[]", None),
    ],
)
def test_an_error_with_a_good_status_is_an_error(id: str, body: str, trouble: Trouble | None) -> None:
    exchange = load_exchange(id)
    assert exchange is not None
    assert exchange.trouble is not None
    assert exchange.trouble(200, {}, body.encode()) == trouble
