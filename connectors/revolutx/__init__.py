"""Revolut X, spot, by polling: it has no public stream.

https://developer.revolut.com/docs/api/revolut-x-crypto-exchange
A market has a slash in lists and a dash in addresses. Which markets there are depends on the region; none is asked for,
and an answer names the one that it is of. The older paths want keys, or give five levels alone.
"""

from aggregator.exchange import Exchange, Limits, Listing, Poll, Request
from aggregator.refusals import coded
from connectors.revolutx.listing import read_pair, rows
from connectors.revolutx.rest import (
    API,
    HISTORY,
    ask_bars,
    ask_depth,
    ask_trades,
    read_bars,
    read_days,
    read_depth,
    read_trades,
)

EXCHANGE = Exchange(
    id="revolutx",
    docs="https://developer.revolut.com/docs/api/revolut-x-crypto-exchange",
    checked="2026-11, its documentation and ccxt 4.5.90: no answer was seen",
    trouble=coded("error_id", "message"),
    limits=Limits(weights={API: ((20, 10),)}),
    listing=Listing((Request(f"{API}/1.0/public/configuration/pairs"),), rows, read_pair),
    history=HISTORY,
    feeds=(
        Poll(name="trades", channels=("trades",), every=15, request=ask_trades, parse=read_trades),
        Poll(name="book", channels=("book",), every=10, request=ask_depth, parse=read_depth),
        Poll(
            name="days",
            channels=("ticker", "bbo"),
            every=10,
            request=lambda _: Request(f"{API}/1.0/public/tickers"),
            parse=read_days,
            many=True,
        ),
        Poll(name="candles", channels=("candles",), every=60, request=ask_bars, parse=read_bars),
    ),
    notes=(
        "Regions list different pairs; what is had is of the region that it takes the address of this machine for.",
        "An answer holds the last hundred trades. Whose side they have is not documented: it is taken for the taker's.",
        "Best prices come with the tickers, without sizes.",
        "Candles are of one minute alone; one without a trade is made of the middle of the best prices.",
    ),
)
