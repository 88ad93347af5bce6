"""Paymium: one market, bitcoin for euros, by Socket.IO 1.x.

https://paymium.github.io/api-documentation
The namespace `/public` is the only topic: whoever joins it gets everything. It brings changes of the book, without a
number; the whole book is had by REST.
"""

from collections.abc import Iterable

from msgspec import Raw
from msgspec.json import Decoder

from aggregator.exchange import Event, Exchange, Heartbeat, Limits, Listing, Poll, Request, Snapshot, Stream
from aggregator.records import BookSnapshot, Instrument, Record
from aggregator.refusals import coded
from aggregator.wire import as_written, oldest_first
from connectors.families.socketio import PING, packets
from connectors.paymium.wires import PAIR, Changes, Depth, TickerWire, TradeRow

DATA = "https://paymium.com/api/v1/data/eur"
PUBLIC = "/public"

decode_changes = Decoder(Changes, float_hook=as_written).decode
decode_depth = Decoder(Depth, float_hook=as_written).decode
decode_trades = Decoder(list[TradeRow], float_hook=as_written).decode
decode_ticker = Decoder(TickerWire, float_hook=as_written).decode


def read(name: str, payload: Raw) -> Iterable[Event]:
    return decode_changes(payload).records() if name == "stream" else ()


def read_depth(_: str, body: bytes) -> BookSnapshot:
    return decode_depth(body).record()


def read_trades(_: str, body: bytes) -> Iterable[Record]:
    return oldest_first(row.record() for row in decode_trades(body))


def read_ticker(_: str, body: bytes) -> Iterable[Record]:
    return decode_ticker(body).records()


EXCHANGE = Exchange(
    id="paymium",
    docs="https://paymium.github.io/api-documentation",
    checked="2026-09, live probes by others",
    trouble=coded("errors"),
    notes=(
        "The book has no numbers: a change that is lost unseen cannot be noticed by anyone.",
        "Its documentation has trades and tickers on the socket, too; in September 2026 none came, so both are polled.",
        "The side of a trade is the taker's by its documentation.",
        "Best prices come with the ticker, without sizes.",
        "Open, high and low of the ticker are those of the UTC day, not of 24 hours, and are left out.",
        "There is no listing, for there is one market.",
    ),
    limits=Limits(weights={"https://paymium.com": ((1, 1), (86_400, 86_400))}),
    listing=Listing(fixed=(Instrument(raw_symbol=PAIR, base="BTC", quote="EUR"),)),
    feeds=(
        Stream(
            url="wss://paymium.com/ws/socket.io/?EIO=3&transport=websocket",
            channels={"book": PUBLIC},
            topic=lambda _: PUBLIC,
            subscribe=lambda _, __: (b"40" + PUBLIC.encode(),),
            parse=packets(read, namespace=PUBLIC, topic=PUBLIC),
            heartbeat=Heartbeat(10, PING),
            snapshot=Snapshot(lambda _: Request(f"{DATA}/depth"), read_depth, after_delta=False),
            patience=30,
        ),
        Poll(
            name="trades",
            channels=("trades",),
            every=15,
            request=lambda _: Request(f"{DATA}/trades"),
            parse=read_trades,
        ),
        Poll(
            name="ticker",
            channels=("ticker", "bbo"),
            every=30,
            request=lambda _: Request(f"{DATA}/ticker"),
            parse=read_ticker,
        ),
    ),
)
