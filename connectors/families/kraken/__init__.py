"""Kraken's WebSocket protocol, version 2: the spot address speaks it, and so does the unified one (`unified`).

https://docs.kraken.com/exchange/api-reference/spot-websocket
Books have no numbers: the checksum over the ten best levels is the only guard. An address sends one ticker a symbol,
either on trades or when the best prices move, so `bbo` has a stream of its own.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from zlib import crc32

from msgspec import ValidationError

from aggregator.book import OrderBook
from aggregator.exchange import Backfill, Event, Heartbeat, Stream, Subscribe, Subscription
from aggregator.records import Instrument
from aggregator.sequence import contiguous
from aggregator.wire import encode
from connectors.families.kraken import legacy
from connectors.families.kraken.notice_wires import CHANNELS
from connectors.families.kraken.wires import BEST, DEPTH, INTERVALS, decode, decode_other

NOTHING: Mapping[str, str] = {}
CHECKED = 10  # levels a side under the checksum, whatever the depth


def parse(frame: bytes) -> Iterable[Event]:
    try:
        return decode(frame).events()
    except ValidationError:
        return legacy.parse(frame) if frame.startswith(b"[") else decode_other(frame).events()


def asking(method: str, beside: Mapping[str, str] = NOTHING) -> Subscribe:
    """One frame for all symbols of a channel (and of an interval); `beside` stands in each."""

    def ask(wanted: Sequence[Subscription], id: int) -> Iterable[bytes]:
        symbols: dict[tuple[str, str, int | str | None], list[str]] = {}
        for s in wanted:
            symbols.setdefault(kind(s), []).append(s.raw_symbol)
        for (name, option, value), named in symbols.items():
            about = {"channel": name, **beside, **({option: value} if option else {})}
            params = about if name == "instrument" else about | {"symbol": named}
            yield encode({"method": method, "params": params, "req_id": id})

    return ask


def kind(s: Subscription) -> tuple[str, str, int | str | None]:
    """The exchange's channel, with the option that tells its kinds apart."""
    if s.channel == "candles":
        return "ohlc", "interval", INTERVALS.get(s.interval, s.interval)
    if s.channel == "bbo":
        return "ticker", "event_trigger", "bbo"
    return (CHANNELS[s.channel], "depth", DEPTH) if s.channel == "book" else (CHANNELS[s.channel], "", None)


def checksum(book: OrderBook, instrument: Instrument | None) -> int:
    """CRC32 of the ten best asks, then bids: price and size of each, at the pair's own number of decimals."""
    if instrument is not None and instrument.tick_size and instrument.lot_size:
        digits = spelling(decimals(instrument.tick_size), decimals(instrument.lot_size))
    else:
        places = [(decimals(price), decimals(size)) for price, size in book.asks(CHECKED) + book.bids(CHECKED)]
        digits = spelling(max((p for p, _ in places), default=0), max((s for _, s in places), default=0))
    bids, asks = book.spelled(CHECKED, digits, digits)
    return crc32("".join(asks + bids).encode())


@lru_cache(maxsize=2**8)
def spelling(after_price: int, after_size: int) -> Callable[[str, str], str]:
    """How a level is spelled, by the number of decimals."""

    def digits(price: str, size: str) -> str:
        return whole(price, after_price) + whole(size, after_size)

    return digits


def whole(number: str, places: int) -> str:
    """Without point and leading zeros; JSON numbers short of decimals have lost zeros on the way."""
    units, _, rest = number.partition(".")
    return (units + rest.ljust(places, "0")).lstrip("0")


def decimals(number: str) -> int:
    return len(number.partition(".")[2])


def streams(url: str, backfill: Backfill | None = None) -> tuple[Stream, Stream]:
    """Declare an address that speaks this protocol."""
    main = Stream(
        url=url,
        channels=CHANNELS,
        subscribe=asking("subscribe"),
        unsubscribe=asking("unsubscribe"),
        parse=parse,
        heartbeat=Heartbeat(30, b'{"method":"ping"}'),
        sequence={"trades": contiguous},
        checksum=checksum,
        backfill=backfill,
        depth=DEPTH,
        per_connection=300,
        patience=20,  # the exchange beats every second that has nothing else to say
    )
    best = Stream(
        name="bbo",
        url=url,
        channels=BEST,
        subscribe=asking("subscribe"),
        unsubscribe=asking("unsubscribe"),
        parse=parse,
        heartbeat=Heartbeat(30, b'{"method":"ping"}'),
        per_connection=300,
        patience=20,
    )
    return main, best
