"""The Deribit protocol: JSON-RPC 2.0, one socket for spot, futures and options.

https://docs.deribit.com/articles/notifications
Amounts of inverse futures are US dollars, all others are of the base asset. Every volatility is a percentage.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Generic, Literal, TypeVar

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.errors import BadFrame
from aggregator.exchange import (
    Accepted,
    Backfill,
    Event,
    Exchange,
    Hangup,
    Limits,
    Listing,
    Parse,
    Refused,
    Reply,
    Request,
    Since,
    Stream,
    Subscription,
)
from aggregator.records import (
    Bbo,
    BookDelta,
    BookSnapshot,
    Candle,
    Channel,
    Funding,
    IndexPrice,
    Instrument,
    Kind,
    Levels,
    Liquidation,
    MarketState,
    MarkPrice,
    OpenInterest,
    OptionSummary,
    Record,
    Side,
    SizeUnit,
    Status,
    Ticker,
    Trade,
)
from aggregator.sequence import contiguous, linked
from aggregator.wire import Text, encode, ms, number, optional, text

CHANNELS: dict[Channel, str] = {
    "trades": "trades",
    "liquidations": "trades",  # a mark on the trade
    "book": "book",
    "bbo": "quote",
    "candles": "chart",
    "ticker": "ticker",
    "funding": "ticker",
    "open_interest": "ticker",
    "mark_price": "ticker",
    "index_price": "ticker",
    "options": "ticker",
    "status": "ticker",  # of an instrument; that of the whole exchange is a topic of its own
}
PLATFORM = "platform_state"
RESOLUTIONS = {"1h": "60", "2h": "120", "3h": "180", "6h": "360", "12h": "720", "1d": "1D"}
SPELLED = {wire: interval for interval, wire in RESOLUTIONS.items()}  # the others are minutes
STATES: dict[str, MarketState] = {
    "open": "trading",
    "closed": "halt",
    "settlement": "settling",
    "delivered": "delisted",
    "inactive": "halt",
    "locked": "halt",
    "halted": "halt",
    "archivized": "delisted",
}
OPPOSITE: dict[Side, Side] = {"buy": "sell", "sell": "buy"}
HEAD = b'{"jsonrpc":"2.0","method":"subscription","params":{"channel":"'
HEARTBEAT = b'{"jsonrpc":"2.0","id":0,"method":"public/set_heartbeat","params":{"interval":30}}'
TEST = b'{"jsonrpc":"2.0","id":0,"method":"public/test","params":{}}'
TOO_MANY = 10028  # requests: the exchange is about to close the connection
FUNDING_S = 8 * 3600  # rates are for eight hours, whatever is paid continuously
DAY_S = 86_400
MINUTE = 60_000_000_000

Data = TypeVar("Data")


class TradeRow(Struct, gc=False):
    instrument_name: str
    trade_id: str
    trade_seq: int  # counts the trades of the instrument
    timestamp: int
    price: Text
    amount: Text
    direction: Side  # the taker's
    liquidation: Literal["M", "T", "MT"] | None = None  # whose order was forced: the maker's, the taker's, both
    block_trade_id: Text = None
    block_rfq_id: Text = None

    def trade(self) -> Trade:
        kind: Literal["trade", "liquidation", "rfq", "block"] = "trade"
        if self.liquidation is not None:
            kind = "liquidation"
        elif self.block_rfq_id is not None:
            kind = "rfq"
        elif self.block_trade_id is not None:
            kind = "block"
        return Trade(
            raw_symbol=self.instrument_name,
            id=self.trade_id,
            price=text(self.price),
            size=text(self.amount),
            side=self.direction,
            size_unit=unit(self.instrument_name),
            kind=kind,
            sequence=self.trade_seq,
            ts_event=self.timestamp * 1_000_000,
        )

    def liquidations(self) -> list[Liquidation]:
        side: Side
        return [
            Liquidation(
                raw_symbol=self.instrument_name,
                id=self.trade_id,
                side=(side := self.direction if whose == "T" else OPPOSITE[self.direction]),
                position="long" if side == "sell" else "short",
                price=text(self.price),
                price_kind="trade",
                size=text(self.amount),
                size_unit=unit(self.instrument_name),
                ts_event=ms(self.timestamp),
            )
            for whose in self.liquidation or ""
        ]


class BookData(Struct, gc=False):
    type: Literal["snapshot", "change"]
    instrument_name: str
    timestamp: int
    change_id: int
    bids: list[tuple[str, Text, Text]]  # "new", "change" or "delete", price, amount: 0 where deleted
    asks: list[tuple[str, Text, Text]]
    prev_change_id: int | None = None

    def record(self) -> Record:
        bids, asks, at = sided(self.bids), sided(self.asks), self.timestamp * 1_000_000
        if self.type == "snapshot":
            return BookSnapshot(
                raw_symbol=self.instrument_name, bids=bids, asks=asks, sequence=self.change_id, ts_event=at
            )
        return BookDelta(
            raw_symbol=self.instrument_name,
            bids=bids,
            asks=asks,
            sequence=self.change_id,
            sequence_prev=self.prev_change_id,
            ts_event=at,
        )


class BestData(Struct, gc=False):
    instrument_name: str
    timestamp: int
    best_bid_price: Text = None
    best_bid_amount: Text = None
    best_ask_price: Text = None
    best_ask_amount: Text = None

    def record(self) -> Bbo:
        bid, bid_size = standing(self.best_bid_price, self.best_bid_amount)
        ask, ask_size = standing(self.best_ask_price, self.best_ask_amount)
        return Bbo(
            raw_symbol=self.instrument_name,
            bid_price=bid,
            bid_size=bid_size,
            ask_price=ask,
            ask_size=ask_size,
            ts_event=ms(self.timestamp),
        )


class Stats(Struct, gc=False):
    high: Text = None
    low: Text = None
    volume: Text = None  # the base asset
    volume_notional: Text = None  # the quote asset; options have none


class Greeks(Struct, gc=False):
    delta: Text = None
    gamma: Text = None
    vega: Text = None
    theta: Text = None
    rho: Text = None


class TickerData(BestData, gc=False):
    last_price: Text = None
    stats: Stats | None = None
    state: str = ""
    open_interest: Text = None
    mark_price: Text = None
    index_price: Text = None
    current_funding: Text = None  # perpetuals only
    mark_iv: Text = None  # options only, as all that follow
    bid_iv: Text = None
    ask_iv: Text = None
    greeks: Greeks | None = None
    underlying_price: Text = None
    underlying_index: str | None = None

    def records(self) -> list[Record]:
        name, at = self.instrument_name, ms(self.timestamp)
        found: list[Record] = [self.ticker(at)]
        if self.current_funding is not None:
            rate = text(self.current_funding)
            found.append(Funding(raw_symbol=name, rate=rate, interval_s=FUNDING_S, ts_event=at))
        if self.open_interest is not None:
            found.append(self.interest(at))
        if self.mark_price is not None:
            found.append(MarkPrice(raw_symbol=name, price=text(self.mark_price), ts_event=at))
        if self.index_price is not None:
            found.append(IndexPrice(raw_symbol=name, price=text(self.index_price), ts_event=at))
        if self.greeks is not None:
            found.append(self.option(self.greeks, at))
        return found

    def ticker(self, at: int) -> Ticker:
        stats = self.stats or Stats()
        return Ticker(
            raw_symbol=self.instrument_name,
            last=optional(self.last_price),
            high=optional(stats.high),
            low=optional(stats.low),
            base_volume=optional(stats.volume),
            quote_volume=optional(stats.volume_notional),
            window_s=DAY_S,
            ts_event=at,
        )

    def interest(self, at: int) -> OpenInterest:
        size, size_unit = text(self.open_interest), unit(self.instrument_name)
        return OpenInterest(
            raw_symbol=self.instrument_name,
            size=size,
            size_unit=size_unit,
            base_size=size if size_unit == "base" else None,
            quote_value=size if size_unit == "quote" else None,
            ts_event=at,
        )

    def option(self, greeks: Greeks, at: int) -> OptionSummary:
        bid, bid_size = standing(self.best_bid_price, self.best_bid_amount)
        ask, ask_size = standing(self.best_ask_price, self.best_ask_amount)
        return OptionSummary(
            raw_symbol=self.instrument_name,
            mark_price=optional(self.mark_price),
            mark_iv=fraction(self.mark_iv),
            bid_iv=bid and fraction(self.bid_iv),
            ask_iv=ask and fraction(self.ask_iv),
            bid_price=bid,
            bid_size=bid_size,
            ask_price=ask,
            ask_size=ask_size,
            delta=optional(greeks.delta),
            gamma=optional(greeks.gamma),
            vega=optional(greeks.vega),
            theta=optional(greeks.theta),
            rho=optional(greeks.rho),
            underlying_price=optional(self.underlying_price),
            underlying=self.underlying_index or None,
            open_interest=optional(self.open_interest),
            ts_event=at,
        )


class BarData(Struct, gc=False):
    tick: int  # the start
    open: Text
    high: Text
    low: Text
    close: Text
    volume: Text  # the base asset
    cost: Text = None  # the quote asset

    def record(self, raw_symbol: str, resolution: str) -> Candle:
        start = ms(self.tick)
        minutes = 1440 if resolution == "1D" else int(resolution)
        return Candle(
            raw_symbol=raw_symbol,
            interval=SPELLED.get(resolution, f"{resolution}m"),
            ts_open=start,
            ts_close=start + minutes * MINUTE,
            open=text(self.open),
            high=text(self.high),
            low=text(self.low),
            close=text(self.close),
            base_volume=text(self.volume),
            quote_volume=optional(self.cost),
        )


class PlatformData(Struct):
    """Either an index that is (no longer) locked, or maintenance that begins or ends."""

    price_index: str = ""
    locked: bool | None = None
    maintenance: bool | None = None


class Params(Struct, Generic[Data], gc=False):
    data: Data


class Notification(Struct, Generic[Data], gc=False):
    params: Params[Data]


class OtherParams(Struct):
    channel: str = ""
    type: str = ""


class Fault(Struct):
    code: int
    message: str = ""
    data: Raw = Raw()


class Other(Struct):
    """An answer, a heartbeat, or data that does not begin as it should."""

    id: int | str | None = None
    method: str = ""
    params: OtherParams | None = None
    result: Raw = Raw()
    error: Fault | None = None


decode_trades = Decoder(Notification[list[TradeRow]], float_hook=number).decode
decode_book = Decoder(Notification[BookData], float_hook=number).decode
decode_best = Decoder(Notification[BestData], float_hook=number).decode
decode_ticker = Decoder(Notification[TickerData], float_hook=number).decode
decode_bar = Decoder(Notification[BarData], float_hook=number).decode
decode_platform = Decoder(Notification[PlatformData], float_hook=number).decode
decode_other = Decoder(Other).decode
decode_names = Decoder(list[str]).decode


def unit(raw_symbol: str) -> SizeUnit:
    """Inverse futures (`BTC-PERPETUAL`, `BTC-25DEC26`) are of one asset and have two parts."""
    return "quote" if "_" not in raw_symbol and raw_symbol.count("-") == 1 else "base"


def sided(rows: list[tuple[str, Text, Text]]) -> Levels:
    return [(text(price), text(amount)) for _, price, amount in rows]


def standing(price: Text, amount: Text) -> tuple[str | None, str | None]:
    """A side's price and amount; null, or no amount, says that nobody stands there."""
    size = optional(amount)
    is_empty = price is None or size is None or not size.strip("0.")
    return (None, None) if is_empty else (text(price), size)


def fraction(percent: Text) -> str | None:
    """`45.2` per cent as `0.452`."""
    return None if percent is None else number(f"{text(percent)}e-2")


def parser() -> Parse:
    """What reads the frames of one connection: states are told when they change."""
    states: dict[str, str] = {}
    locked: set[str] = set()
    readers: dict[str, Callable[[bytes, str], Iterable[Event]]] = {
        "trades": read_trades,
        "book": read_book,
        "quote": lambda frame, _: (decode_best(frame).params.data.record(),),
        "ticker": lambda frame, _: read_ticker(frame, states),
        "chart": read_bar,
        PLATFORM: lambda frame, _: read_platform(frame, locked),
    }

    def parse(frame: bytes) -> Iterable[Event]:
        if frame.startswith(HEAD):
            topic = frame[len(HEAD) : frame.find(b'"', len(HEAD))].decode()
        else:
            other = decode_other(frame)
            if other.method != "subscription" or other.params is None:
                return parse_other(other)
            topic = other.params.channel
        kind, _, about = topic.partition(".")
        read = readers.get(kind)
        return () if read is None else read(frame, about)

    return parse


def parse_other(other: Other) -> Iterable[Event]:
    if other.method == "heartbeat":
        is_asked = other.params is not None and other.params.type == "test_request"
        return (Reply(TEST),) if is_asked else ()
    if other.error is not None:
        reason = f"{other.error.code}: {other.error.message} {bytes(other.error.data).decode()}".rstrip()
        if other.error.code == TOO_MANY:
            return (Hangup(reason),)
        return (Refused(reason, id=other.id if isinstance(other.id, int) else None),)
    result = bytes(other.result)
    if result.startswith(b"["):
        return [event for topic in decode_names(result) for event in accepted(topic)]
    if not result:
        raise BadFrame("neither a notification nor an answer")
    return ()


def accepted(topic: str) -> Iterable[Event]:
    """What is accepted is named by topic; what is not known to the exchange is left out."""
    kind, _, about = topic.partition(".")
    raw_symbol = about.removeprefix("trades.").partition(".")[0] or None
    return [Accepted(channel=channel, raw_symbol=raw_symbol) for channel, wire in CHANNELS.items() if wire == kind]


def read_trades(frame: bytes, _: str) -> Iterable[Event]:
    found: list[Event] = []
    for row in decode_trades(frame).params.data:
        found.append(row.trade())
        if row.liquidation is not None:
            found += row.liquidations()
    return found


def read_book(frame: bytes, about: str) -> Iterable[Event]:
    if about.count(".") > 1:
        return ()  # a book of grouped levels, `book.(instrument).(group).(depth).(interval)`
    return (decode_book(frame).params.data.record(),)


def read_ticker(frame: bytes, states: dict[str, str]) -> Iterable[Event]:
    data = decode_ticker(frame).params.data
    found = data.records()
    if data.state and states.get(data.instrument_name) != data.state:
        states[data.instrument_name] = data.state
        state = STATES.get(data.state, "unknown")
        reason = None if data.state == "open" else data.state
        found.append(Status(raw_symbol=data.instrument_name, state=state, reason=reason, ts_event=ms(data.timestamp)))
    return found


def read_bar(frame: bytes, about: str) -> Iterable[Event]:
    _, raw_symbol, resolution = about.split(".")
    return (decode_bar(frame).params.data.record(raw_symbol, resolution),)


def read_platform(frame: bytes, locked: set[str]) -> Iterable[Event]:
    """A lock is of one index: of the exchange as a whole it is no more than a doubt."""
    data = decode_platform(frame).params.data
    if data.maintenance is not None:
        return (Status(state="maintenance" if data.maintenance else "trading"),)
    if data.locked is None:
        return ()
    (locked.add if data.locked else locked.discard)(data.price_index)
    reason = f"{data.price_index} is {'locked' if data.locked else 'no longer locked'}"
    return (Status(state="unknown" if locked else "trading", reason=reason),)


def topic(s: Subscription) -> str:
    if s.channel == "candles":
        return f"chart.trades.{s.raw_symbol}.{RESOLUTIONS.get(s.interval, s.interval.removesuffix('m'))}"
    if s.channel == "bbo":
        return f"quote.{s.raw_symbol}"
    return f"{CHANNELS[s.channel]}.{s.raw_symbol}.100ms"  # `raw` is only for those who have logged in


def asking(method: str) -> Callable[[Sequence[Subscription], int], Iterable[bytes]]:
    def ask(wanted: Sequence[Subscription], id: int) -> Iterable[bytes]:
        topics = dict.fromkeys(map(topic, wanted))
        if method == "public/subscribe":
            yield HEARTBEAT
            if any(s.channel == "status" for s in wanted):
                topics[PLATFORM] = None
        yield encode({"jsonrpc": "2.0", "id": id, "method": method, "params": {"channels": list(topics)}})

    return ask


class InstrumentWire(Struct):
    instrument_name: str
    kind: str
    base_currency: str
    tick_size: Text
    min_trade_amount: Text
    contract_size: Text = None
    counter_currency: str | None = None
    settlement_currency: str | None = None
    settlement_period: str = ""
    expiration_timestamp: int | None = None
    creation_timestamp: int | None = None
    strike: Text = None
    option_type: Literal["call", "put"] | None = None
    is_active: bool = True
    state: str = ""


class Answer(Struct):
    result: list[Raw]


class PastTrades(Struct):
    trades: list[TradeRow]


class Past(Struct):
    result: PastTrades


decode_answer = Decoder(Answer).decode
decode_instrument = Decoder(InstrumentWire, float_hook=number).decode
decode_past = Decoder(Past, float_hook=number).decode


def rows(body: bytes) -> Iterable[Raw]:
    return decode_answer(body).result


def read_instrument(row: Raw) -> Instrument | None:
    i = decode_instrument(row)
    kinds: dict[str, Kind] = {"spot": "spot", "future": "future", "option": "option"}
    kind = kinds.get(i.kind)
    if kind is None:
        return None  # a combination of instruments
    if i.settlement_period == "perpetual" and kind == "future":
        kind = "perpetual"
    is_dated = kind in {"future", "option"} and i.expiration_timestamp is not None
    linear = None if kind == "spot" else i.settlement_currency == i.counter_currency
    is_inverse_option = kind == "option" and not linear  # its contract is of the base asset
    return Instrument(
        raw_symbol=i.instrument_name,
        kind=kind,
        base=i.base_currency,
        quote=i.counter_currency,
        settle=None if kind == "spot" else i.settlement_currency,
        linear=linear,
        contract_size=None if kind == "spot" or is_inverse_option else optional(i.contract_size),
        tick_size=text(i.tick_size),
        lot_size=text(i.min_trade_amount),
        min_size=text(i.min_trade_amount),
        expiry=ms(i.expiration_timestamp or 0) if is_dated else None,
        strike=optional(i.strike),
        option_type=i.option_type,
        state=STATES.get(i.state, "unknown") if i.state else "trading" if i.is_active else "halt",
        ts_listed=None if i.creation_timestamp is None else ms(i.creation_timestamp),
    )


def read_past(_: str, body: bytes) -> Iterable[Trade]:
    return [row.trade() for row in decode_past(body).result.trades]


def exchange(id: str, *, docs: str, stream: str, rest: str, notes: tuple[str, ...] = ()) -> Exchange:
    """Declare an exchange that speaks Deribit."""

    def past(raw_symbol: str, since: Since) -> Request:
        method, start = "get_last_trades_by_instrument", f"start_seq={(since.sequence or 0) + 1}"
        if since.sequence is None:
            method, start = f"{method}_and_time", f"start_timestamp={since.ts // 1_000_000}"
        return Request(f"{rest}/public/{method}?instrument_name={raw_symbol}&{start}&count=1000&sorting=asc")

    return Exchange(
        id=id,
        docs=docs,
        limits=Limits(weights={rest: (20, 1)}),
        listing=Listing(
            tuple(
                Request(f"{rest}/public/get_instruments?currency=any&kind={kind}")
                for kind in ("future", "option", "spot")
            ),
            rows,
            read_instrument,
        ),
        feeds=(
            Stream(
                url=stream,
                channels=CHANNELS,
                subscribe=asking("public/subscribe"),
                unsubscribe=asking("public/unsubscribe"),
                parser=parser,
                sequence={"book": linked, "trades": contiguous},
                backfill=Backfill(past, read_past),
                per_connection=500,
                batch=500,  # all at once, as several channels are one topic of the exchange
                pace=0.4,
                patience=45,  # the exchange beats every 30 s, as it is asked to
            ),
        ),
        notes=notes,
    )
