"""Frames of Bitrue's sockets: there is one kind, whose channel says what its content is about.

https://github.com/Bitrue-exchange/Spot-official-api-docs
Numbers of contracts are JSON numbers, those of pairs are texts.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.exchange import Accepted, Event, Refused, Reply, Subscribe, Subscription
from aggregator.records import DAY_S, BookSnapshot, Candle, Channel, Instrument, Side, Ticker, Trade
from aggregator.wire import Text, as_written, encode, end_of, levels, ms, nonzero, oldest_first, optional, seconds, text

SPOT: Mapping[Channel, str] = {"book": "simple_depth_step0"}
CONTRACT: Mapping[Channel, str] = {
    "trades": "trade_ticker",
    "book": "depth_step0",
    "ticker": "ticker",
    "candles": "kline_",
}
PERIODS = {
    **{f"{n}m": f"{n}min" for n in (1, 5, 15, 30)},
    "1h": "60min",
    "4h": "4h",
    "1d": "1day",
    "1w": "1week",
    "1M": "1month",
}
INTERVALS = {period: interval for interval, period in PERIODS.items()}
CHANNEL = re.compile(r"market_((?:e_)?[^_]+)_(simple_depth|depth|trade_ticker|ticker|kline)(?:_(\w+))?")
SIDES: Mapping[str, Side] = {"BUY": "buy", "SELL": "sell"}


class Frame(Struct, gc=False):
    channel: str = ""
    ts: int = 0
    tick: Raw = Raw()
    event_rep: str = ""
    status: str = ""
    ping: int | None = None


class DepthWire(Struct, gc=False):
    asks: list[list[Text]]
    buys: list[list[Text]]


class TradeRow(Struct, gc=False):
    price: Text
    vol: Text  # in contracts
    side: str
    ts: int


class TradesWire(Struct, gc=False):
    data: list[TradeRow]


class TickerWire(Struct, gc=False):
    close: Text
    high: Text
    low: Text
    open: Text
    vol: Text  # in contracts


class BarWire(Struct, gc=False):
    id: int  # when it began, in seconds
    open: Text
    high: Text
    low: Text
    close: Text
    vol: Text  # in contracts


decode = Decoder(Frame).decode
decode_depth = Decoder(DepthWire, float_hook=as_written).decode
decode_trades = Decoder(TradesWire, float_hook=as_written).decode
decode_ticker = Decoder(TickerWire, float_hook=as_written).decode
decode_bar = Decoder(BarWire, float_hook=as_written).decode


def parse(frame: bytes) -> Iterable[Event]:
    f = decode(frame)
    read, name, word = told(f.channel)
    if read is not None and f.tick:
        return read(name, word, f)
    if f.ping is not None:
        return (Reply(encode({"pong": f.ping})),)
    if f.event_rep == "subed":
        return (Accepted(topic=f.channel),) if f.status == "ok" else (Refused(f.status, topic=f.channel),)
    return ()


def read_depth(name: str, _: str, f: Frame) -> Iterable[Event]:
    d = decode_depth(f.tick)
    book = BookSnapshot(
        raw_symbol=name,
        bids=levels(d.buys),
        asks=levels(d.asks),
        depth=max(len(d.buys), len(d.asks)) or None,
        reason="periodic",
        ts_sent=ms(f.ts) or None,
    )
    return (book,)


def read_trades(name: str, _: str, f: Frame) -> Iterable[Event]:
    return oldest_first(
        Trade(
            raw_symbol=name,
            price=text(t.price),
            size=text(t.vol),
            size_unit="contract",
            side=SIDES.get(t.side),
            ts_event=ms(t.ts),
            ts_sent=ms(f.ts) or None,
        )
        for t in decode_trades(f.tick).data
    )


def read_ticker(name: str, _: str, f: Frame) -> Iterable[Event]:
    t = decode_ticker(f.tick)
    ticker = Ticker(
        raw_symbol=name,
        last=nonzero(t.close),
        open=nonzero(t.open),
        high=nonzero(t.high),
        low=nonzero(t.low),
        contract_volume=optional(t.vol),
        window_s=DAY_S,
        ts_sent=ms(f.ts) or None,
    )
    return (ticker,)


def read_bar(name: str, word: str, f: Frame) -> Iterable[Event]:
    bar, interval = decode_bar(f.tick), INTERVALS.get(word, word)
    start = seconds(bar.id)
    candle = Candle(
        raw_symbol=name,
        interval=interval,
        ts_open=start,
        ts_close=end_of(interval, start),
        open=text(bar.open),
        high=text(bar.high),
        low=text(bar.low),
        close=text(bar.close),
        contract_volume=optional(bar.vol),
        ts_sent=ms(f.ts) or None,
    )
    return (candle,)


Read = Callable[[str, str, Frame], Iterable[Event]]
READERS: Mapping[str, Read] = {
    "simple_depth": read_depth,
    "depth": read_depth,
    "trade_ticker": read_trades,
    "ticker": read_ticker,
    "kline": read_bar,
}


@lru_cache(maxsize=2**12)
def told(channel: str) -> tuple[Read | None, str, str]:
    """How a channel's content is read, of what it is, and the word after its kind."""
    found = CHANNEL.fullmatch(channel)
    if found is None:
        return None, "", ""
    name = found[1]
    return READERS[found[2]], name if name.startswith("e_") else name.upper(), found[3] or ""


def contract_id(instrument: Instrument) -> str:
    """The socket's name of a contract: `E-BTC-USDT` as `e_btcusdt`."""
    kind, _, pair = str(instrument.raw_symbol).lower().partition("-")
    return f"{kind}_{pair.replace('-', '')}"


def topic(s: Subscription) -> str:
    """A contract comes here by the socket's own name, `e_btcusdt`, and a pair by its raw symbol."""
    if s.channel == "book":
        word = CONTRACT["book"] if s.raw_symbol.startswith("e_") else SPOT["book"]
    else:
        word = CONTRACT[s.channel] + (PERIODS.get(s.interval, s.interval) if s.channel == "candles" else "")
    return f"market_{s.raw_symbol.lower()}_{word}"


def asking(event: str) -> Subscribe:
    def ask(wanted: Sequence[Subscription], _: int) -> Iterable[bytes]:
        for s in wanted:
            yield encode({"event": event, "params": {"channel": topic(s), "cb_id": s.raw_symbol.lower()}})

    return ask
