"""Reading Mercado Bitcoin's frames, and asking for topics."""

from collections.abc import Iterable, Sequence

from aggregator.errors import BadFrame
from aggregator.exchange import Accepted, Event, Ignored, Refused, Subscribe, Subscription
from aggregator.records import DAY_S, BookSnapshot, Channel, Record, Ticker, Trade
from aggregator.refusals import meaning_of
from aggregator.wire import bbo, encode, levels, nonzero, optional, seconds, text
from connectors.mercado.wires import Frame, decode, decode_book, decode_ticker, decode_trade

CHANNELS: dict[Channel, str] = {"trades": "trade", "book": "orderbook", "ticker": "ticker", "bbo": "ticker"}
LEVELS = 200  # the most; the last one that is asked for holds for every book of the connection
ALREADY = "already subscribed"
NS = 10**15  # a greater number is no time in seconds


def read_book(f: Frame) -> Iterable[Event]:
    b = decode_book(f.data)
    bids, asks = levels(b.bids), levels(b.asks)
    return (BookSnapshot(raw_symbol=f.id, bids=bids, asks=asks, ts_event=b.timestamp, ts_sent=f.ts, reason="periodic"),)


def moment(date: int) -> int:
    """A time in seconds, as it is seen, or in nanoseconds, as it is documented: its length tells."""
    return date if date > NS else seconds(date)


def read_trade(f: Frame) -> Iterable[Event]:
    t = decode_trade(f.data)
    price, size = text(t.price), text(t.amount)
    return (
        Trade(
            raw_symbol=f.id, id=str(t.tid), price=price, size=size, side=t.type, ts_event=moment(t.date), ts_sent=f.ts
        ),
    )


def read_ticker(f: Frame) -> Iterable[Record]:
    t = decode_ticker(f.data)
    at = None if t.date is None else moment(t.date)
    statistics = Ticker(
        raw_symbol=f.id,
        last=nonzero(t.last),
        open=nonzero(t.open),
        high=nonzero(t.high),
        low=nonzero(t.low),
        base_volume=optional(t.vol),
        window_s=DAY_S,
        ts_event=at,
        ts_sent=f.ts,
    )
    return statistics, bbo(f.id, t.buy, None, t.sell, None, ts_event=at, ts_sent=f.ts)


READERS = {"orderbook": read_book, "trade": read_trade, "ticker": read_ticker}


def parse(frame: bytes) -> Iterable[Event]:
    f = decode(frame)
    reader = READERS.get(f.type)
    if reader is not None:
        if not f.id:
            raise BadFrame(f"a frame of {f.type} that names no market")
        return reader(f)
    if f.message == ALREADY:
        return (Ignored(ALREADY),)  # it does not say which topic; that one comes
    if f.type == "error":
        return (Refused(f.message, meaning=meaning_of(f.message, final=("invalid pair", "unknown subscription"))),)
    return (Accepted(topic=(f.name, f.id)),) if f.name and not f.type else ()


def topic(s: Subscription) -> tuple[str, str]:
    return CHANNELS[s.channel], s.raw_symbol


def ask(type: str) -> Subscribe:
    def frames(wanted: Sequence[Subscription], _: int) -> Iterable[bytes]:
        for name, id in map(topic, wanted):
            limit = {"limit": LEVELS} if name == CHANNELS["book"] else {}
            yield encode({"type": type, "subscription": {"name": name, "id": id, **limit}})

    return frames
