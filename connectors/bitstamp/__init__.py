"""Bitstamp.

https://www.bitstamp.net/websocket/v2/
Deltas and the REST book are both stamped in microseconds, which is what joins them; a hole does not show. The same
REST book is answered for about a second, unless it is asked for with a parameter that nobody has asked with.
Single orders name the event before each, so that a hole shows; whole books know only times. What their frames hold, and
that each names the one before, was seen by live probes of others in August 2026.
https://www.bitstamp.net/derivatives/perpetual-futures/trading-information/
No answer says how long a funding interval is; this page says it of all: eight hours.
"""

from aggregator.exchange import Exchange, Heartbeat, Limits, Listing, Poll, Request, Snapshot, Stream
from aggregator.sequence import ordered, spanning
from connectors.bitstamp.history import HISTORY
from connectors.bitstamp.order_wires import reader
from connectors.bitstamp.rest import API, decode_markets, read_book, read_market, read_orders, read_tickers, trouble
from connectors.bitstamp.wires import CHANNELS, ORDERS, PERPETUAL, asking, parse

BEAT = Heartbeat(every=20, frame=b'{"event":"bts:heartbeat"}')

EXCHANGE = Exchange(
    id="bitstamp",
    docs="https://www.bitstamp.net/websocket/v2/",
    notes=(
        "Trades of the past, which are of the last day alone, have times of whole seconds.",
        "There is no ticker stream: it is asked for by REST.",
        "A hole in the book's deltas cannot be seen; one in the orders can (`pre_event_id`).",
        "Where `orders` are wanted, the book is made of them (channel `live_orders`), and is crossed for moments.",
        "Outside of its hours the index of metals, oil, currencies and funds is made from the perpetual's own book.",
    ),
    checked="2026-09, live probes by others, and its changelog",
    limits=Limits(weights={API: ((400, 1), (10_000, 600))}),
    trouble=trouble,
    history=HISTORY,
    listing=Listing((Request(f"{API}/markets/"),), decode_markets, read_market),
    feeds=(
        Stream(
            url="wss://ws.bitstamp.net",
            channels=CHANNELS,
            subscribe=asking("bts:subscribe", CHANNELS),
            unsubscribe=asking("bts:unsubscribe", CHANNELS),
            parse=parse,
            snapshot=Snapshot(request=lambda s: Request(f"{API}/order_book/{s}/", fresh="_"), parse=read_book),
            sequence={"book": ordered},
            heartbeat=BEAT,
            pace=0.05,
        ),
        Stream(
            name="orders",
            url="wss://ws.bitstamp.net",
            channels=ORDERS,
            subscribe=asking("bts:subscribe", ORDERS),
            unsubscribe=asking("bts:unsubscribe", ORDERS),
            parser=reader,
            snapshot=Snapshot(
                request=lambda s: Request(f"{API}/order_book/{s}/?group=2", fresh="_"), parse=read_orders
            ),
            sequence={"book": spanning},
            crosses=True,
            heartbeat=BEAT,
            pace=0.05,
        ),
        Stream(
            name="perpetual",
            url="wss://ws.bitstamp.net",
            channels=PERPETUAL,
            serves=lambda instrument: instrument.kind == "perpetual",
            subscribe=asking("bts:subscribe", PERPETUAL),
            unsubscribe=asking("bts:unsubscribe", PERPETUAL),
            parse=parse,
            heartbeat=BEAT,
            pace=0.05,
        ),
        Poll(
            channels=("ticker",), every=10, request=lambda _: Request(f"{API}/ticker/"), parse=read_tickers, many=True
        ),
    ),
)
