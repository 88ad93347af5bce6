"""Hibachi: perpetuals that settle in USDT.

https://hibachi-docs.redocly.app/wsapi/market
A subscription is not answered. That funding is exchanged each hour is what others saw in September 2026: settlements
are an hour apart, and the last estimate is what is paid.
"""

from collections.abc import Iterable, Sequence

from aggregator.exchange import Exchange, Stream, Subscribe, Subscription
from aggregator.refusals import coded
from aggregator.wire import encode
from connectors.hibachi.frames import CHANNELS, parser
from connectors.hibachi.listing import LISTING, POLLS


def asking(method: str) -> Subscribe:
    def ask(wanted: Sequence[Subscription], _: int) -> Iterable[bytes]:
        topics = [{"symbol": s.raw_symbol, "topic": CHANNELS[s.channel]} for s in wanted]
        yield encode({"method": method, "parameters": {"subscriptions": topics}})

    return ask


EXCHANGE = Exchange(
    id="hibachi",
    docs="https://hibachi-docs.redocly.app/wsapi/market",
    checked="2026-09, frames that others recorded; 2026-11, its documentation, its Python client and ccxt 4.5.90",
    trouble=coded("errorCode", "message"),
    listing=LISTING,
    feeds=(
        Stream(
            url="wss://data-api.hibachi.xyz/ws/market?hibachiClient=aggregator/1",
            channels=CHANNELS,
            subscribe=asking("subscribe"),
            unsubscribe=asking("unsubscribe"),
            parser=parser,
            acknowledges=False,
            patience=120,
        ),
        *POLLS,
    ),
    notes=(
        "A book has 20 levels a side; what leaves that window is told as removed. Nothing numbers its changes.",
        "Its changes come some four times a second; a faster `live_book` is of its partners, and not documented.",
        "A trade has no id, and its time is that of a second.",
        "Funding is exchanged each hour; the rate is the exchange's estimate of the hour that runs (`predicted`).",
        "An index price is that of spot markets. Statistics and open interest come by REST.",
        "Candles are left out: what their topic sends is not documented. Liquidations have no public channel.",
        "Its listing has times at which a market opens and closes, which were empty wherever they were seen.",
        "So markets of currencies and metals that rest at a weekend are told as `quiet` or `stalled`.",
    ),
)
