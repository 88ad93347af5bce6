"""Frames of LBank's pairs: `{"depth":{...},"type":"depth","pair":"eth_btc","TS":"..."}`.

https://www.lbank.com/en-US/docs/index.html
Times name no zone and are of Beijing, eight hours east of UTC: in a sample of ccxt 4.5.90 an answer of 08:29:41 holds
the five minutes that began at 00:20 UTC.
"""

from collections.abc import Callable, Iterable, Sequence

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.errors import BadFrame
from aggregator.exchange import Event, Refused, Reply, Subscribe, Subscription
from aggregator.records import DAY_S, BookSnapshot, Candle, Channel, Record, Side, Ticker, Trade
from aggregator.wire import Text, as_written, encode, end_of, from_iso, levels, nonzero, optional, text

CHANNELS: dict[Channel, str] = {"trades": "trade", "book": "depth", "ticker": "tick", "candles": "kbar"}
SLOTS = {
    "1m": "1min",
    "5m": "5min",
    "15m": "15min",
    "30m": "30min",
    "1h": "1hr",
    "4h": "4hr",
    "1d": "day",
    "1w": "week",
    "1M": "month",
    "1y": "year",
}
INTERVALS = {slot: interval for interval, slot in SLOTS.items()}
DEPTH = 100  # levels a side, the most that is offered
BEIJING = "+08:00"
OPPOSITE: dict[str, Side] = {"buy": "sell", "sell": "buy"}


class TradeWire(Struct, gc=False):
    volume: Text
    price: Text
    direction: str  # `sell`, `buy_market`, or `sell_maker` of the maker's order
    TS: str
    amount: Text = None  # in the quote asset

    def records(self, pair: str, _: int | None) -> Iterable[Record]:
        word, kind = self.direction.partition("_")[::2]
        if word not in OPPOSITE:
            raise BadFrame(f"a trade of the direction {self.direction[:20]!r}")
        maker = OPPOSITE[word]
        yield Trade(
            raw_symbol=pair,
            price=text(self.price),
            size=text(self.volume),
            quote_size=optional(self.amount),
            side=maker if kind == "maker" else OPPOSITE[maker],
            ts_event=from_iso(self.TS + BEIJING),
        )


class DepthWire(Struct, gc=False):
    asks: list[list[Text]]
    bids: list[list[Text]]

    def records(self, pair: str, sent: int | None) -> Iterable[Record]:
        yield BookSnapshot(
            raw_symbol=pair,
            bids=levels(self.bids),
            asks=levels(self.asks),
            depth=DEPTH,
            reason="periodic",
            ts_sent=sent,
        )


class TickWire(Struct, gc=False):
    latest: Text = None
    high: Text = None
    low: Text = None
    vol: Text = None
    turnover: Text = None  # in the quote asset

    def records(self, pair: str, sent: int | None) -> Iterable[Record]:
        yield Ticker(
            raw_symbol=pair,
            last=nonzero(self.latest),
            high=nonzero(self.high),
            low=nonzero(self.low),
            base_volume=optional(self.vol),
            quote_volume=optional(self.turnover),
            window_s=DAY_S,
            ts_sent=sent,
        )


class BarWire(Struct, gc=False):
    t: str  # when it begins
    slot: str
    o: Text
    h: Text
    l: Text  # noqa: E741 - the exchange's own name
    c: Text
    v: Text = None
    a: Text = None  # in the quote asset
    n: int | None = None

    def records(self, pair: str, sent: int | None) -> Iterable[Record]:
        interval, start = INTERVALS.get(self.slot, self.slot), from_iso(self.t + BEIJING)
        yield Candle(
            raw_symbol=pair,
            interval=interval,
            ts_open=start,
            ts_close=end_of(interval, start),
            open=text(self.o),
            high=text(self.h),
            low=text(self.l),
            close=text(self.c),
            base_volume=optional(self.v),
            quote_volume=optional(self.a),
            trades=self.n,
            ts_sent=sent,
        )


class Frame(Struct, gc=False):
    type: str = ""
    pair: str = ""
    TS: str | None = None
    trade: TradeWire | None = None
    depth: DepthWire | None = None
    tick: TickWire | None = None
    kbar: Raw = Raw(b"null")  # an answer to a question has its name alone
    action: str = ""
    ping: str = ""
    status: str = ""
    message: str = ""
    columns: list[str] | None = None  # answers to questions have it


decode = Decoder(Frame, float_hook=as_written).decode
decode_bar: Callable[[Raw], BarWire] = Decoder(BarWire, float_hook=as_written).decode


def parse(frame: bytes) -> Iterable[Event]:
    said = decode(frame)
    if said.action == "ping":
        return (Reply(encode({"action": "pong", "pong": said.ping})),)
    if said.status == "error":
        return (Refused(said.message),)  # it may be of any frame of a request: what it seems to mean is asked for again
    sent = None if said.TS is None else from_iso(said.TS + BEIJING)
    row = said.trade or said.depth or said.tick
    if row is not None:
        return row.records(said.pair, sent)
    if said.type == "kbar" and said.columns is None:
        return decode_bar(said.kbar).records(said.pair, sent)
    if said.type in CHANNELS.values() and said.columns is None:
        raise BadFrame(f"{said.type} that cannot be read")
    return ()


def asking(action: str) -> Subscribe:
    def ask(wanted: Sequence[Subscription], _: int) -> Iterable[bytes]:
        for s in wanted:
            word = CHANNELS[s.channel]
            more = {"depth": str(DEPTH)} if word == "depth" else {}
            if word == "kbar":
                more = {"kbar": SLOTS.get(s.interval, s.interval)}
            yield encode({"action": action, "subscribe": word, "pair": s.raw_symbol} | more)

    return ask
