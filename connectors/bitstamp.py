"""Bitstamp.

https://www.bitstamp.net/websocket/v2/
Deltas and the REST book are both stamped in microseconds, which is what joins them; a hole does not show.
"""

from collections.abc import Callable, Iterable, Sequence

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.exchange import (
    Accepted,
    Event,
    Exchange,
    Hangup,
    Heartbeat,
    Limits,
    Listing,
    Poll,
    Refused,
    Request,
    Snapshot,
    Stream,
    Subscription,
)
from aggregator.records import BookDelta, BookSnapshot, Channel, Funding, Instrument, Record, Ticker, Trade
from aggregator.sequence import ordered
from aggregator.wire import Text, encode, number, optional, seconds, text, us

API = "https://www.bitstamp.net/api/v2"
CHANNELS: dict[Channel, str] = {"trades": "live_trades", "book": "diff_order_book", "funding": "funding_rate"}
WIRES = {wire: channel for channel, wire in CHANNELS.items()}


class Frame(Struct):
    event: str
    channel: str = ""
    data: Raw = Raw(b"{}")


class TradeWire(Struct, gc=False):
    id: int
    microtimestamp: Text
    type: int | None = None  # 0 bought, 1 sold
    order_type: int | None = None  # its name of old
    price_str: str | None = None
    amount_str: str | None = None
    price: Text = None
    amount: Text = None


class BookWire(Struct, gc=False):
    microtimestamp: str
    bids: list[list[str]]
    asks: list[list[str]]


class FundingWire(Struct):
    market: str
    funding_rate: str
    timestamp: str
    next_funding_time: str


class Trouble(Struct):
    message: str = ""


decode = Decoder(Frame).decode
decode_trade = Decoder(TradeWire, float_hook=number).decode
decode_book = Decoder(BookWire).decode
decode_funding = Decoder(FundingWire).decode
decode_trouble = Decoder(Trouble).decode


def parse(frame: bytes) -> Iterable[Event]:
    said = decode(frame)
    wire, _, raw_symbol = said.channel.rpartition("_")
    read = READERS.get((said.event, wire))
    return (read(raw_symbol, said.data),) if read else parse_other(said, wire, raw_symbol)


def parse_other(said: Frame, wire: str, raw_symbol: str) -> Iterable[Event]:
    if said.event == "bts:subscription_succeeded" and wire in WIRES:
        return (Accepted(channel=WIRES[wire], raw_symbol=raw_symbol),)
    if said.event == "bts:request_reconnect":
        return (Hangup("bts:request_reconnect"),)
    if said.event == "bts:error":
        return (Refused(decode_trouble(said.data).message, channel=WIRES.get(wire), raw_symbol=raw_symbol or None),)
    return ()


def read_trade(raw_symbol: str, body: Raw) -> Record:
    t = decode_trade(body)
    kind = t.type if t.type is not None else t.order_type
    return Trade(
        raw_symbol=raw_symbol,
        id=str(t.id),
        price=t.price_str or text(t.price),
        size=t.amount_str or text(t.amount),
        side=None if kind is None else ("buy" if kind == 0 else "sell"),
        ts_event=us(text(t.microtimestamp)),
    )


def read_delta(raw_symbol: str, body: Raw) -> Record:
    d = decode_book(body)
    at = int(d.microtimestamp)
    return BookDelta(
        raw_symbol=raw_symbol,
        bids=[(row[0], row[1]) for row in d.bids],
        asks=[(row[0], row[1]) for row in d.asks],
        sequence=at,
        ts_event=at * 1000,
    )


def read_book(raw_symbol: str, body: bytes | Raw, reason: str = "initial") -> BookSnapshot:
    d = decode_book(body)
    at = int(d.microtimestamp)
    return BookSnapshot(
        raw_symbol=raw_symbol,
        bids=[(row[0], row[1]) for row in d.bids],
        asks=[(row[0], row[1]) for row in d.asks],
        sequence=at,
        ts_event=at * 1000,
        reason="periodic" if reason == "periodic" else "initial",
    )


def read_funding(raw_symbol: str, body: Raw) -> Record:
    f = decode_funding(body)
    return Funding(
        raw_symbol=raw_symbol, rate=f.funding_rate, ts_next=seconds(f.next_funding_time), ts_event=seconds(f.timestamp)
    )


READERS: dict[tuple[str, str], Callable[[str, Raw], Record]] = {
    ("data", "diff_order_book"): read_delta,
    ("trade", "live_trades"): read_trade,
    ("data", "order_book"): lambda raw_symbol, body: read_book(raw_symbol, body, "periodic"),
    ("data", "detail_order_book"): lambda raw_symbol, body: read_book(raw_symbol, body, "periodic"),
    ("funding_rate_saved", "funding_rate"): read_funding,
}


def frames(event: str) -> Callable[[Sequence[Subscription], int], Iterable[bytes]]:
    def ask(wanted: Sequence[Subscription], _: int) -> Iterable[bytes]:
        return [encode({"event": event, "data": {"channel": f"{CHANNELS[s.channel]}_{s.raw_symbol}"}}) for s in wanted]

    return ask


class TickerWire(Struct):
    last: str
    high: str
    low: str
    volume: str
    timestamp: str
    vwap: str | None = None
    open_24: str | None = None  # 24 hours ago; `open` is the day's


decode_ticker = Decoder(TickerWire).decode


def read_ticker(raw_symbol: str, body: bytes) -> Iterable[Record]:
    t = decode_ticker(body)
    return (
        Ticker(
            raw_symbol=raw_symbol,
            last=t.last,
            open=t.open_24,
            high=t.high,
            low=t.low,
            base_volume=t.volume,
            vwap=t.vwap,
            window_s=86_400,
            ts_sent=seconds(t.timestamp),
        ),
    )


class Pair(Struct):
    name: str
    url_symbol: str
    base_decimals: int
    counter_decimals: int
    trading: str = "Enabled"
    minimum_order: str | None = None  # "20.0 USD"


decode_pairs = Decoder(list[Raw]).decode
decode_pair = Decoder(Pair).decode


def read_pair(row: Raw) -> Instrument:
    pair = decode_pair(row)
    base, _, quote = pair.name.partition("/")
    is_perpetual = quote.endswith("-PERP")
    quote = quote.removesuffix("-PERP")
    return Instrument(
        raw_symbol=pair.url_symbol,
        kind="perpetual" if is_perpetual else "spot",
        base=base,
        quote=quote,
        settle=quote if is_perpetual else None,
        linear=True if is_perpetual else None,
        contract_size="1" if is_perpetual else None,
        tick_size=step(pair.counter_decimals),
        lot_size=step(pair.base_decimals),
        min_notional=optional((pair.minimum_order or "").partition(" ")[0]),
        state="trading" if pair.trading == "Enabled" else "halt",
    )


def step(places: int) -> str:
    return f"0.{'1'.rjust(places, '0')}" if places else "1"


EXCHANGE = Exchange(
    id="bitstamp",
    docs="https://www.bitstamp.net/websocket/v2/",
    notes=("There is no ticker stream: it is asked for by REST.", "A hole in the book's deltas cannot be seen."),
    limits=Limits(weights={API: (400, 1)}),
    listing=Listing((Request(f"{API}/trading-pairs-info/"),), decode_pairs, read_pair),
    feeds=(
        Stream(
            url="wss://ws.bitstamp.net",
            channels=CHANNELS,
            subscribe=frames("bts:subscribe"),
            unsubscribe=frames("bts:unsubscribe"),
            parse=parse,
            snapshot=Snapshot(request=lambda s: Request(f"{API}/order_book/{s}/"), parse=read_book),
            sequence={"book": ordered},
            heartbeat=Heartbeat(every=20, frame=b'{"event":"bts:heartbeat"}'),
            pace=0.05,
        ),
        Poll(channels=("ticker",), every=10, request=lambda s: Request(f"{API}/ticker/{s}/"), parse=read_ticker),
    ),
)
