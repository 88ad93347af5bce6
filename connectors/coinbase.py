"""Coinbase Advanced Trade: spot, and the futures of Coinbase Derivatives.

https://docs.cdp.coinbase.com/coinbase-app/advanced-trade-apis/websocket/websocket-channels
What is served under another product's name (most of -USDC under -USD) is no instrument of its own.
"""

from collections.abc import Callable, Iterable, Sequence

from msgspec import Struct
from msgspec.json import Decoder

from aggregator.exchange import Backfill, Exchange, Limits, Listing, Poll, Request, Since, Stream, Subscription
from aggregator.records import Trade
from aggregator.sequence import contiguous, linked
from aggregator.wire import encode
from connectors.families.coinbase.frames import CHANNELS, parser
from connectors.families.coinbase.listing import read_futures, read_product, rows
from connectors.families.coinbase.wires import TradeRow

API = "https://api.coinbase.com/api/v3/brokerage/market"


def asking(method: str) -> Callable[[Sequence[Subscription], int], Iterable[bytes]]:
    """One frame a channel; heartbeats keep those open that have nothing to say."""

    def ask(wanted: Sequence[Subscription], _: int) -> Iterable[bytes]:
        for name in dict.fromkeys(CHANNELS[s.channel] for s in wanted):
            products = dict.fromkeys(s.raw_symbol for s in wanted if CHANNELS[s.channel] == name)
            yield encode({"type": method, "product_ids": list(products), "channel": name})
        if method == "subscribe":
            yield encode({"type": method, "channel": "heartbeats"})

    return ask


class Dealt(Struct):
    trades: list[TradeRow]


decode_dealt = Decoder(Dealt).decode


def missed(raw_symbol: str, since: Since) -> Request:
    return Request(f"{API}/products/{raw_symbol}/ticker?limit=1000&start={since.ts // 10**9}")


def read_missed(_: str, body: bytes) -> Iterable[Trade]:
    return [row.record() for row in reversed(decode_dealt(body).trades)]


EXCHANGE = Exchange(
    id="coinbase",
    docs="https://docs.cdp.coinbase.com/coinbase-app/advanced-trade-apis/websocket/websocket-channels",
    notes=(
        "Products that are served under another's name (most of -USDC, under -USD) are left out of the listing.",
        "Candles are of five minutes, whatever is asked for.",
        "bbo comes with each trade (channel `ticker`), not with each change of the best prices.",
        "Frames are numbered over a whole connection: after a hole every book of it is asked for anew.",
    ),
    limits=Limits(weights={API: ((10, 1),)}),
    listing=Listing(
        (Request(f"{API}/products?product_type=SPOT"), Request(f"{API}/products?product_type=FUTURE")),
        rows,
        read_product,
    ),
    feeds=(
        Stream(
            url="wss://advanced-trade-ws.coinbase.com",
            channels=CHANNELS,
            subscribe=asking("subscribe"),
            unsubscribe=asking("unsubscribe"),
            parser=parser,
            sequence={"trades": contiguous, "book": linked},
            backfill=Backfill(missed, read_missed),
            pace=0.15,  # eight messages a second are allowed
            patience=20,  # heartbeats come every second
        ),
        Poll(
            name="futures",
            channels=("funding", "open_interest"),
            every=30,
            request=lambda _: Request(f"{API}/products?product_type=FUTURE"),
            parse=read_futures,
            serves=lambda i: i.kind != "spot",
            many=True,
        ),
    ),
)
