"""Coinbase Advanced Trade: spot, and the futures of Coinbase Derivatives.

https://docs.cdp.coinbase.com/coinbase-app/advanced-trade-apis/websocket/websocket-channels
What is served under another product's name (most of -USDC under -USD) is no instrument of its own.
"""

from collections.abc import Iterable, Mapping, Sequence

from aggregator.exchange import Backfill, Exchange, Limits, Listing, Poll, Request, Stream, Subscribe, Subscription
from aggregator.records import Channel
from aggregator.refusals import coded
from aggregator.sequence import Rule, contiguous, linked
from aggregator.wire import at, encode
from connectors.coinbase.frames import CHANNELS, parser
from connectors.coinbase.history import HISTORY
from connectors.coinbase.listing import read_futures, read_product
from connectors.coinbase.rest import API, missed, read_missed

MOST_BOOKS = 30  # a session with more gets "too many L2 streams requested in a single session" (2026-09)
BOOKS: dict[Channel, str] = {channel: wire for channel, wire in CHANNELS.items() if channel == "book"}
OTHERS: dict[Channel, str] = {channel: wire for channel, wire in CHANNELS.items() if channel != "book"}


def asking(method: str) -> Subscribe:
    """One frame a channel; heartbeats keep those open that have nothing to say."""

    def ask(wanted: Sequence[Subscription], _: int) -> Iterable[bytes]:
        for name in dict.fromkeys(CHANNELS[s.channel] for s in wanted):
            products = dict.fromkeys(s.raw_symbol for s in wanted if CHANNELS[s.channel] == name)
            yield encode({"type": method, "product_ids": list(products), "channel": name})
        if method == "subscribe":
            yield encode({"type": method, "channel": "heartbeats"})

    return ask


def stream(
    name: str, channels: Mapping[Channel, str], *, per_connection: int = 200, until: str | None = None
) -> Stream:
    """Declare a socket that carries some of the channels."""
    rules: dict[Channel, Rule] = {"trades": contiguous, "book": linked}
    return Stream(
        name=name,
        url="wss://advanced-trade-ws.coinbase.com",
        until=until,
        channels=channels,
        subscribe=asking("subscribe"),
        unsubscribe=asking("unsubscribe"),
        parser=parser,
        sequence={channel: rule for channel, rule in rules.items() if channel in channels},
        backfill=Backfill(missed, read_missed) if "trades" in channels else None,
        per_connection=per_connection,
        pace=0.15,  # eight messages a second are allowed
        patience=20,  # heartbeats come every second
    )


EXCHANGE = Exchange(
    id="coinbase",
    docs="https://docs.cdp.coinbase.com/coinbase-app/advanced-trade-apis/websocket/websocket-channels",
    checked="2026-09, live probes by others",
    notes=(
        "Products that are served under another's name (most of -USDC, under -USD) are left out of the listing.",
        "Candles are of five minutes, whatever is asked for.",
        "bbo comes with each trade (channel `ticker`), not with each change of the best prices.",
        "Frames are numbered over a whole connection, which has 30 books: after a hole each is asked for anew.",
    ),
    trouble=coded("error", "message"),
    limits=Limits(weights={API: ((10, 1),)}),
    history=HISTORY,
    listing=Listing(
        (Request(f"{API}/products?product_type=SPOT"), Request(f"{API}/products?product_type=FUTURE")),
        at("products"),
        read_product,
    ),
    feeds=(
        stream("main", CHANNELS, until="2026-11-28"),  # it had the books too; captures of it can still be read
        stream("books", BOOKS, per_connection=MOST_BOOKS),
        stream("others", OTHERS),
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
