"""Aster: spot pairs and perpetual contracts. Both speak Binance's protocol of futures, each with an address of its own.

https://github.com/asterdex/api-docs (version 3)
"""

from collections.abc import Mapping

from msgspec import Raw

from aggregator.exchange import Exchange, Limits, Listing, Request
from aggregator.records import HOUR_S, Channel, Instrument
from aggregator.sequence import spanning
from aggregator.wire import at
from connectors.families.binance.futures import PUBLIC, stream
from connectors.families.binance.futures_rest import funding_intervals, read_contract
from connectors.families.binance.rest import read_symbol, trouble

SPOT = "https://sapi.asterdex.com/api/v3"
PERPETUAL = "https://fapi.asterdex.com/fapi/v3"
CHANNELS: Mapping[Channel, str] = {**PUBLIC, "trades": "aggTrade", "ticker": "ticker", "candles": "kline_"}
MARKS: Mapping[Channel, str] = {
    "funding": "markPrice@1s",
    "mark_price": "markPrice@1s",
    "index_price": "markPrice@1s",
    "liquidations": "forceOrder",
}


def read_market(row: Raw) -> Instrument:
    """Only contracts say of which type they are."""
    return read_contract(row) if b'"contractType"' in bytes(row) else read_symbol(row)


EXCHANGE = Exchange(
    id="aster",
    docs="https://github.com/asterdex/api-docs",
    checked="2026-09, its documentation of May 2026 by others; nobody has probed it",
    trouble=trouble,
    limits=Limits(lifetime=24 * HOUR_S, weights={SPOT: ((6000, 60),), PERPETUAL: ((2400, 60),)}),
    listing=Listing(
        (Request(f"{SPOT}/exchangeInfo"), Request(f"{PERPETUAL}/exchangeInfo")),
        at("symbols"),
        read_market,
        details=(funding_intervals(PERPETUAL),),
    ),
    feeds=(
        stream(
            "perpetual",
            "wss://fstream.asterdex.com/stream",
            PERPETUAL,
            {**CHANNELS, **MARKS},
            book=spanning,  # numbers jump, so that a whole book may be of one between two changes
            serves=lambda i: i.kind != "spot",
            per_connection=200,
            patience=330,  # the exchange pings every five minutes
        ),
        stream(
            "spot",
            "wss://sstream.asterdex.com/stream",
            SPOT,
            CHANNELS,
            book=spanning,
            serves=lambda i: i.kind == "spot",
            pace=0.25,  # five incoming messages a second are allowed, pongs among them
            patience=330,
        ),
    ),
    notes=(
        "A trade is what one order took at one price, on spot too: only such trades can be looked up without a key.",
        "Of liquidations only the last of each second is told by contract; price and size are of what was filled.",
        "The funding rate is that of the running interval, exchanged at `ts_next`; intervals differ by contract.",
        "Open interest, and what becomes of a contract, are not told; prediction markets are another interface.",
        "Changes of a pair's book follow the number before that each names, as those of contracts do.",
    ),
)
