"""The Bybit protocol, version 5: spot, linear, inverse and option markets, each with a socket of its own.

https://bybit-exchange.github.io/docs/v5/ws/connect
A topic of the exchange may carry several channels.
"""

from collections.abc import Callable, Collection, Iterable, Sequence

from aggregator.exchange import Archive, Exchange, Heartbeat, Limits, Stream, Subscribe, Subscription, every_instrument
from aggregator.records import Channel, Instrument, SizeUnit
from aggregator.sequence import contiguous
from aggregator.wire import encode
from connectors.families.bybit.frames import FUTURES, OPTIONS, SPOT, STATUS, parser
from connectors.families.bybit.history import history
from connectors.families.bybit.listing import listing, trouble
from connectors.families.bybit.wires import INTERVALS

DOCS = "https://bybit-exchange.github.io/docs/v5/ws/connect"
CATEGORIES = ("spot", "linear", "inverse", "option")
INVERSE = "Sizes of inverse contracts are US dollars (`size_unit` is `quote`); all others are of the base asset."
NOTES = (  # categories, and what is to be known of an exchange that has one of them
    ({"inverse"}, INVERSE),
    (
        {"linear", "inverse"},
        "Open interest counts both sides of each contract, as the exchange's own headline figure does.",
    ),
    (
        {"linear", "inverse"},
        "Of liquidations the exchange names the position's side; `side` is that of the order that closes it.",
    ),
    (
        {"linear", "inverse"},
        "Tickers of futures come as changes: a record is filled up with what has not changed; not so open interest.",
    ),
    (CATEGORIES, "Orders for retail price improvement (RPI) are not in the books."),
    (CATEGORIES, "Maintenance is told for the whole exchange, not by market."),
)


def is_future(instrument: Instrument, *, linear: bool) -> bool:
    return instrument.kind in {"perpetual", "future"} and instrument.linear is linear


def asking(op: str, channels: dict[Channel, str]) -> Subscribe:
    def topic(s: Subscription) -> str:
        if s.channel == "candles":
            return f"kline.{INTERVALS.get(s.interval, s.interval.removesuffix('m'))}.{s.raw_symbol}"
        if s.channel == "status":
            return STATUS["status"]
        is_by_asset = channels is OPTIONS and s.channel == "trades"
        return f"{channels[s.channel]}.{s.raw_symbol.partition('-')[0] if is_by_asset else s.raw_symbol}"

    def ask(wanted: Sequence[Subscription], id: int) -> Iterable[bytes]:
        yield encode({"op": op, "req_id": str(id), "args": list(dict.fromkeys(map(topic, wanted)))})

    return ask


def stream(
    name: str,
    url: str,
    channels: dict[Channel, str],
    serves: Callable[[Instrument], bool],
    *,
    unit: SizeUnit = "base",
    per_connection: int = 400,
    batch: int | None = None,
    depth: int = 200,
) -> Stream:
    """Declare the socket of one market.

    per_connection: the topics of a connection may be 21,000 characters long
    batch: where it is limited; else all is asked for at once, as several channels are one topic of the exchange
    """
    return Stream(
        name=name,
        url=url,
        channels=channels,
        serves=serves,
        subscribe=asking("subscribe", channels),
        unsubscribe=asking("unsubscribe", channels),
        parser=parser(unit),
        heartbeat=Heartbeat(20, b'{"op":"ping"}'),
        sequence={"book": contiguous} if "book" in channels else {},
        depth=depth,
        per_connection=per_connection,
        batch=batch or per_connection,
        patience=45,  # a ping is answered when there is nothing else to say
        acknowledges=channels is not OPTIONS,  # trades of options are acknowledged by base asset, not by option
    )


def exchange(
    id: str,
    *,
    host: str,
    checked: str,
    categories: Collection[str] = CATEGORIES,
    notes: tuple[str, ...] = (),
    archives: tuple[Archive, ...] = (),
) -> Exchange:
    """Declare an exchange that speaks Bybit, by its host (`bybit.com`) and the categories of markets that it has."""
    ws, rest = f"wss://stream.{host}/v5/public", f"https://api.{host}"
    feeds = (
        # first the one that knows its own instruments: a frame of unknown address is read by the first that can
        stream("inverse", f"{ws}/inverse", FUTURES, lambda i: is_future(i, linear=False), unit="quote"),
        stream("spot", f"{ws}/spot", SPOT, lambda i: i.kind == "spot", batch=10),
        stream("linear", f"{ws}/linear", FUTURES, lambda i: is_future(i, linear=True)),
        stream("option", f"{ws}/option", OPTIONS, lambda i: i.kind == "option", depth=100),
        stream("status", f"{ws}/misc/status", STATUS, every_instrument, per_connection=100_000),
    )
    return Exchange(
        id=id,
        docs=DOCS,
        checked=checked,
        trouble=trouble,
        limits=Limits(weights={rest: ((600, 5),)}, connects=(500, 300)),
        listing=listing(rest, categories),
        archives=archives,
        history=history(rest, categories),
        feeds=tuple(feed for feed in feeds if feed.name in {*categories, "status"}),
        notes=(*(note for whose, note in NOTES if set(whose) & set(categories)), *notes),
    )
