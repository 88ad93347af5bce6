"""Revolut X, spot, by polling: it has no public stream.

https://developer.revolut.com/docs/api/revolut-x-crypto-exchange
A market has a slash in lists and a dash in addresses. It has two books, of the European Economic Area and of the United
Kingdom, which trade apart: the best prices of SOL were 0.1 basis points from each other in one and 45 in the other at
one moment of 2026-09. The older paths want keys, or give five levels alone.
Each path may be asked once in a second; whoever asks more is told in milliseconds, not seconds, how long to wait.
"""

from collections.abc import Mapping

from aggregator.exchange import Exchange, Limits, Listing, Poll, Request, Trouble
from aggregator.refusals import coded
from connectors.revolutx.history import HISTORY
from connectors.revolutx.listing import read_pair, rows
from connectors.revolutx.rest import (
    API,
    REGION,
    ask_bars,
    ask_days,
    ask_depth,
    ask_trades,
    read_bars,
    read_days,
    read_depth,
    read_trades,
)

PATHS = ("1.0/public/trades", "1.0/public/tickers", "1.0/public/candles", "1.0/public/configuration", "2.0/public")
TOO_MANY = 429

says = coded("error_id", "message")


def trouble(status: int, headers: Mapping[str, str], body: bytes) -> Trouble | None:
    said, wait = says(status, headers, body), headers.get("retry-after", "")
    if status != TOO_MANY or not wait.isdecimal():
        return said
    return Trouble(f"HTTP {status}" if said is None else said.words, is_busy=True, wait=int(wait) / 1000)


EXCHANGE = Exchange(
    id="revolutx",
    docs="https://developer.revolut.com/docs/api/revolut-x-crypto-exchange",
    checked="2026-11, its documentation, ccxt 4.5.90, and answers that others asked for in 2026-09",
    trouble=trouble,
    limits=Limits(weights={f"{API}/{path}": ((1, 1),) for path in PATHS}),
    listing=Listing((Request(f"{API}/1.0/public/configuration/pairs?region={REGION}"),), rows, read_pair),
    history=HISTORY,
    feeds=(
        Poll(name="trades", channels=("trades",), every=15, request=ask_trades, parse=read_trades),
        Poll(name="book", channels=("book",), every=10, request=ask_depth, parse=read_depth),
        Poll(
            name="days",
            channels=("ticker", "bbo"),
            every=10,
            request=ask_days,
            parse=read_days,
            many=True,
        ),
        Poll(name="candles", channels=("candles",), every=60, request=ask_bars, parse=read_bars),
    ),
    notes=(
        "A pair has two books that trade apart, of the EEA and of the United Kingdom: that of the EEA is told.",
        "An answer holds the last hundred trades. Their side is not documented: others too take it for the taker's.",
        "Best prices come with the tickers, without sizes.",
        "Candles are of one minute alone; one without a trade is made of the middle of the best prices.",
    ),
)
