"""WhiteBIT: a list of markets takes the place of the one before, and is refused whole for one that there is not."""

import json

from aggregator.exchange import Subscription
from aggregator.session.moment import Now
from aggregator.session.session import Session
from connectors.whitebit import EXCHANGE

NOW = Now(1_790_000_000_000_000_000, 0)
LISTS = EXCHANGE.streams[0]


def asked(session: Session) -> list[tuple[int, list[str]]]:
    """What the outbox asks for: the number of each request, and the markets that it names."""
    frames = [json.loads(frame) for frame in session.outbox]
    session.outbox.clear()
    return [(frame["id"], frame["params"]) for frame in frames if frame["method"] == "trades_subscribe"]


def test_the_markets_that_there_are_are_asked_for_again_together() -> None:
    wanted = [Subscription("trades", name) for name in ("A_USDT", "NOPE_PERP", "B_USDT")]
    session = Session("whitebit", LISTS, conn="main#1", instruments={}, subscriptions=wanted)
    session.open(NOW)
    [(id, names)] = asked(session)
    assert names == ["A_USDT", "NOPE_PERP", "B_USDT"]
    error = {"code": 9, "message": "market NOPE_PERP does not exist"}
    session.receive([json.dumps({"error": error, "result": None, "id": id}).encode()], NOW)
    [(again, names)] = asked(session)
    assert names == ["A_USDT", "B_USDT"]
    assert again != id
    [refused] = session.refusals
    assert (refused.raw_symbol, refused.meaning) == ("NOPE_PERP", "final")
