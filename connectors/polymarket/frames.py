"""Reading the frames of Polymarket's perpetuals: data of a channel, or an answer by its number.

https://docs.polymarket.com/asyncapi-perps.json
"""

from collections.abc import Callable, Iterable

from msgspec import Struct
from msgspec.json import Decoder

from aggregator.errors import BadFrame
from aggregator.exchange import Accepted, Event, Refused, Subscription
from aggregator.records import (
    DAY_S,
    HOUR_S,
    MS_NS,
    BookSnapshot,
    Channel,
    Funding,
    IndexPrice,
    MarkPrice,
    OpenInterest,
    Ticker,
    Trade,
)
from aggregator.refusals import meaning_of
from aggregator.wire import Text, bbo, candle, levels, nonzero, number, optional, text
from connectors.polymarket import prediction_frames
from connectors.polymarket.wires import BestWire, BookWire, DayWire, FiguresWire, Said, TradeWire

CHANNELS: dict[Channel, str] = {
    "trades": "trades",
    "book": "book",
    "bbo": "bbo",
    "candles": "klines",
    "ticker": "tickers",
    "funding": "tickers",
    "open_interest": "tickers",
    "mark_price": "tickers",
    "index_price": "tickers",
}
DEPTH = 20


class Status(Struct):
    status: str = ""
    error: str | None = None


class Other(Struct):
    ch: str = ""
    id: int | None = None
    data: list[Status] | Status | None = None
    error: str | None = None


decode_trades = Decoder(Said[TradeWire | list[TradeWire]], strict=False, float_hook=number).decode
decode_book = Decoder(Said[BookWire], float_hook=number).decode
decode_best = Decoder(Said[BestWire], float_hook=number).decode
decode_figures = Decoder(Said[FiguresWire | list[FiguresWire]], strict=False, float_hook=number).decode
decode_days = Decoder(Said[DayWire | list[DayWire]], strict=False, float_hook=number).decode
decode_bars = Decoder(Said[list[list[Text]]], float_hook=number).decode
decode_other = Decoder(Other, strict=False).decode
decode_channel = Decoder(Said[object]).decode


def topic(s: Subscription) -> str:
    name = f"{CHANNELS[s.channel]}::{s.raw_symbol}"
    return f"{name}::{s.interval}" if s.channel == "candles" else name


def read_trades(frame: bytes) -> Iterable[Event]:
    said = decode_trades(frame)
    for trade in said.data if isinstance(said.data, list) else (said.data,):
        yield Trade(
            raw_symbol=said.name,
            id=str(trade.tid),
            price=text(trade.p),
            size=text(trade.qty),
            side="buy" if trade.side == "long" else "sell",
            ts_event=trade.ts * MS_NS,
            ts_sent=said.sent,
        )


def read_book(frame: bytes) -> Iterable[Event]:
    said = decode_book(frame)
    yield BookSnapshot(
        raw_symbol=said.name,
        bids=levels(said.data.b),
        asks=levels(said.data.a),
        depth=DEPTH,
        reason="periodic",
        sequence=said.sq,
        ts_event=said.at,
        ts_sent=said.sent,
    )


def read_best(frame: bytes) -> Iterable[Event]:
    said = decode_best(frame)
    best = said.data
    yield bbo(said.name, best.bp, best.bq, best.ap, best.aq, ts_event=said.at, ts_sent=said.sent, sequence=said.sq)


def read_figures(frame: bytes) -> Iterable[Event]:
    said = decode_figures(frame)
    at, sent = said.at, said.sent
    for row in said.data if isinstance(said.data, list) else (said.data,):
        name = str(row.iid)
        if (last := nonzero(row.last)) is not None:
            yield Ticker(raw_symbol=name, last=last, ts_event=at, ts_sent=sent)
        if (rate := optional(row.fr)) is not None:
            due = None if row.nxf is None else row.nxf * MS_NS
            yield Funding(raw_symbol=name, rate=rate, interval_s=HOUR_S, ts_next=due, ts_event=at, ts_sent=sent)
        if (size := optional(row.oi)) is not None:
            yield OpenInterest(raw_symbol=name, size=size, ts_event=at, ts_sent=sent)
        if (mark := nonzero(row.mark)) is not None:
            yield MarkPrice(raw_symbol=name, price=mark, ts_event=at, ts_sent=sent)
        if (index := nonzero(row.idx)) is not None:
            yield IndexPrice(raw_symbol=name, price=index, ts_event=at, ts_sent=sent)


def read_days(frame: bytes) -> Iterable[Event]:
    """Statistics, which captures of others may have: nobody subscribes to them here.

    https://docs.polymarket.com/api-reference/wss/perps-statistics
    """
    said = decode_days(frame)
    for row in said.data if isinstance(said.data, list) else (said.data,):
        name = said.name if row.iid is None else str(row.iid)
        first, volume = nonzero(row.open), optional(row.vol)
        if (first, volume) != (None, None):
            yield Ticker(
                raw_symbol=name,
                open=first,
                quote_volume=volume,
                window_s=DAY_S,
                ts_event=said.at,
                ts_sent=said.sent,
            )


def read_bars(frame: bytes) -> Iterable[Event]:
    """Candles that were touched: `[start, open, high, low, close, volume, trades]`."""
    said = decode_bars(frame)
    interval = said.ch.split("::")[2]
    for start, first, high, low, last, volume, trades in said.data:
        prices = first, high, low, last
        bar = candle(said.name, interval, int(text(start)) * MS_NS, prices, base=volume, trades=int(text(trades)))
        bar.ts_sent = said.sent
        yield bar


READERS: dict[str, Callable[[bytes], Iterable[Event]]] = {
    "trades": read_trades,
    "book": read_book,
    "bbo": read_best,
    "tickers": read_figures,
    "statistics": read_days,
    "klines": read_bars,
}
HEAD = b'{"ch":"'


def parse(frame: bytes) -> Iterable[Event]:
    if frame.startswith(HEAD):  # hot: most frames begin so
        read = READERS.get(frame[len(HEAD) : frame.find(b"::", len(HEAD))].decode("latin-1"))
        if read is not None:
            return [*read(frame)]
    if b'"ch"' in frame and b'"id"' not in frame:
        read = READERS.get(decode_channel(frame).ch.partition("::")[0])
        return () if read is None else [*read(frame)]
    if b'"event_type"' in frame or frame in prediction_frames.NOTHING:
        return prediction_frames.parse(frame)
    return read_answer(decode_other(frame))


def read_answer(said: Other) -> Iterable[Event]:
    """An answer has a status of each channel; a request here has one. Only what subscribes has a number above 0."""
    if said.id is None and said.error is None:
        raise BadFrame("neither data of a channel nor an answer")
    if said.id is not None and said.id <= 0:
        return ()
    found = said.data if isinstance(said.data, list) else []
    reason = said.error or next((status.error or status.status for status in found if status.status != "ok"), None)
    if reason is None:
        return (Accepted(id=said.id),)
    meaning = meaning_of(
        reason, final=("invalid channel", "invalid instrument"), passing=("rate_limited", "unavailable")
    )
    return (Refused(reason, id=said.id, meaning=meaning),)
