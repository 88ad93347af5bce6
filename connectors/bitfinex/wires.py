"""The rows of Bitfinex's channels: arrays without names, that may grow at their end."""

from collections.abc import Callable, Iterable, Sequence
from decimal import Context, Decimal

from msgspec import Struct

from aggregator.errors import BadFrame
from aggregator.exchange import Event, Ignored
from aggregator.records import (
    DAY_S,
    HOUR_S,
    Bbo,
    BookDelta,
    BookSnapshot,
    Candle,
    Funding,
    Levels,
    Liquidation,
    MarkPrice,
    OpenInterest,
    Record,
    Ticker,
    Trade,
)
from aggregator.sequence import Count
from aggregator.wire import Text, end_of, is_zero, ms, nonzero, optional, past, signed, text

INTERVALS = {
    "1D": "1d",
    "7D": "1w",
    "1W": "1w",
    "14D": "2w",
}  # intervals that the exchange spells in its own way
LEAST, DERIVATIVE = 12, 23  # fields of a derivative's state, of old and as far as they are read
EIGHT_HOURS_S = 8 * HOUR_S
EXACT = Context(prec=100)  # enough for any two rates
Row = list[Text]


class Place(Struct):
    """One channel of a connection: whose it is, and how its frames are read.

    read: this place, the message after the channel's id, and when it was sent
    told: the state that was told last
    """

    raw_symbol: str
    count: Count
    read: Callable[["Place", Row, int | None], Sequence[Event]]
    interval: str = ""
    told: Row | None = None


def table(body: Row) -> list[Row]:
    """One row, or several, that begin with the state at the subscription."""
    return body if not body or type(body[0]) is list else [body]


def is_past(body: Row) -> bool:
    return not body or type(body[0]) is list


def trade(place: Place, row: Row, sent: int | None) -> Trade | Ignored:
    side, size = signed(text(row[2]))  # positive where the taker bought
    if side is None:
        return Ignored("a trade of size 0")
    return Trade(
        raw_symbol=place.raw_symbol,
        id=text(row[0]),
        price=text(row[3]),
        size=size,
        side=side,
        ts_event=ms(row[1]),
        ts_sent=sent,
    )


def read_trades(place: Place, message: Row, sent: int | None) -> Sequence[Event]:
    """`te` is a trade at once; `tu` is the same again, a little later; the past comes newest first."""
    said = message[0]
    if said == "te":
        return (trade(place, message[1], sent),)
    if type(said) is str:
        return ()
    past = [trade(place, row, sent) for row in reversed(table(said))]
    for record in past:
        if isinstance(record, Trade):
            record.flags = ("snapshot",)
    return past


def sides(rows: list[Row]) -> tuple[Levels, Levels]:
    """Rows of price, number of orders (0 removes) and amount, negative on the asks' side."""
    bids: Levels = []
    asks: Levels = []
    for row in rows:
        amount = text(row[2])
        size = "0" if row[1] == 0 else amount.lstrip("-")
        (asks if amount.startswith("-") else bids).append((text(row[0]), size))
    return bids, asks


def read_book(place: Place, message: Row, sent: int | None) -> Sequence[Event]:
    """A checksum comes by itself, as a frame that changes nothing."""
    said = message[0]
    if type(said) is str and said != "cs":
        return ()
    symbol, count = place.raw_symbol, place.count
    number = None if count.last < 0 else count.last
    bids, asks = ([], []) if said == "cs" else sides(table(said))
    if is_past(said):
        count.tell(symbol)
        return (BookSnapshot(raw_symbol=symbol, bids=bids, asks=asks, sequence=number, ts_sent=sent),)
    return (
        BookDelta(
            raw_symbol=symbol,
            bids=bids,
            asks=asks,
            sequence=number,
            sequence_prev=count.tell(symbol),
            checksum=message[1] if said == "cs" else None,
            ts_sent=sent,
        ),
    )


def read_ticker(place: Place, message: Row, sent: int | None) -> Sequence[Event]:
    """The sizes beside the best prices are sums over 25 levels, and left out."""
    bid, _, ask, _, change, _, last, volume, high, low = message[0][:10]
    best = Bbo(raw_symbol=place.raw_symbol, bid_price=nonzero(bid), ask_price=nonzero(ask), ts_sent=sent)
    statistics = Ticker(
        raw_symbol=place.raw_symbol,
        last=nonzero(last),
        high=nonzero(high),
        low=nonzero(low),
        base_volume=optional(volume),
        change=optional(change),
        window_s=DAY_S,
        ts_sent=sent,
    )
    return statistics, best


def read_candles(place: Place, message: Row, sent: int | None) -> Sequence[Event]:
    """Open and close come before high and low; the past comes newest first."""
    rows = table(message[0])
    candles = [
        Candle(
            raw_symbol=place.raw_symbol,
            interval=place.interval,
            ts_open=ms(start),
            ts_close=end_of(place.interval, ms(start)),
            open=text(first),
            high=text(high),
            low=text(low),
            close=text(last),
            base_volume=text(volume),
            ts_sent=sent,
        )
        for start, first, last, high, low, volume, *_ in reversed(rows)
    ]
    return past(candles) if is_past(message[0]) else candles


def read_derivative(place: Place, message: Row, sent: int | None) -> Sequence[Event]:
    """The rate of this period of eight hours, and what the next one's would be if the period ended now.

    Its spot price (field 3) is the middle of the exchange's own book, and no index: in September 2026 it was off the
    mark by up to 47 %. The same state comes again and again, and is told once.
    """
    if len(message[0]) < LEAST:
        raise BadFrame("a derivative's state that is cut off")
    if message[0] == place.told:
        return ()
    place.told = message[0]
    row = message[0] + [None] * (DERIVATIVE - len(message[0]))
    symbol, at, upcoming = place.raw_symbol, ms(row[0]), None if row[7] is None else ms(row[7])
    rates = ((row[11], "current", upcoming), (paid(row[8], row[21], row[22]), "predicted", None))
    found: list[Record] = [
        Funding(
            raw_symbol=symbol,
            rate=text(rate),
            kind="current" if kind == "current" else "predicted",
            interval_s=EIGHT_HOURS_S,
            ts_next=next_at,
            ts_event=at,
            ts_sent=sent,
        )
        for rate, kind, next_at in rates
        if rate is not None
    ]
    if mark := nonzero(row[14]):
        found.append(MarkPrice(raw_symbol=symbol, price=mark, ts_event=at, ts_sent=sent))
    if row[17] is not None:
        found.append(OpenInterest(raw_symbol=symbol, size=text(row[17]), ts_event=at, ts_sent=sent))
    return found


def paid(spread: Text, clamp: Text, cap: Text) -> str | None:
    """The rate that a mean spread comes to: what it is beyond the clamp, on either side, and no more than the cap.

    None where one of them is not said, as it was of old.
    """
    mean, least, most = optional(spread), optional(clamp), optional(cap)
    if mean is None or least is None or most is None:
        return None
    beyond = max(Decimal(0), EXACT.subtract(Decimal(mean.lstrip("-")), Decimal(least)))
    rate = f"{min(Decimal(most), beyond):f}"
    return rate if is_zero(rate) or not mean.startswith("-") else f"-{rate}"


def liquidations(rows: Iterable[Row], sent: int | None) -> Iterable[Liquidation | Ignored]:
    for _, id, at, _, symbol, amount, _, _, is_match, _, _, price, *_ in rows:
        if type(symbol) is not str:
            raise BadFrame(f"a liquidation of {symbol!r}")
        held, size = signed(text(amount))  # the amount is the position's: negative where it is short
        if held is None:
            yield Ignored("a liquidation of size 0")
            continue
        is_short = held == "sell"
        yield Liquidation(
            raw_symbol=symbol,
            id=text(id),
            side="buy" if is_short else "sell",
            position="short" if is_short else "long",
            price=optional(price),
            price_kind="trade" if is_match and price is not None else None,
            size=size,
            status="match" if is_match else "trigger",
            ts_event=ms(at),
            ts_sent=sent,
        )


def read_liquidations(_: Place, message: Row, sent: int | None) -> Sequence[Event]:
    return list(liquidations(table(message[0]), sent))
