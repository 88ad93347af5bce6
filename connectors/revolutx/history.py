"""The past of Revolut X's pairs by REST: candles.

https://developer.revolut.com/docs/api/revolut-x-crypto-exchange
"""

from collections.abc import Iterable

from aggregator.exchange import Page, PastPages, Request
from aggregator.records import MS_NS, Candle
from connectors.revolutx.rest import API, REGION, bars, dashed

MINUTES = {"1m": 1, "5m": 5, "15m": 15, "30m": 30, "1h": 60, "4h": 240, "1d": 1440}


def ask_past(page: Page) -> Request:
    """Candles of a time; one that has no trade is made of the prices between bid and offer."""
    between = f"since={page.start // MS_NS}&until={(page.end - 1) // MS_NS}"
    query = f"interval={MINUTES[page.interval]}&region={REGION}&{between}"
    return Request(f"{API}/1.0/public/candles/{dashed(page.raw_symbol)}?{query}")


def read_past(page: Page, body: bytes) -> Iterable[Candle]:
    return bars(page.raw_symbol, page.interval, body)


# Its documentation names 5000 candles where no beginning is given, its own examples 1000 at most.
HISTORY = (
    PastPages(
        channel="candles",
        request=ask_past,
        parse=read_past,
        most=1000,
        intervals=tuple(MINUTES),
    ),
)
