"""The OKX protocol, version 5: `op` and `args`, one socket for spot, swaps, futures and options.

https://www.okx.com/docs-v5/en/#public-data-websocket
Sizes of derivatives count contracts. Book checksums are no longer reliable (zero today): numbers guard the book.
"""

import re
from collections.abc import Callable, Iterable, Sequence

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.errors import BadFrame
from aggregator.exchange import (
    Accepted,
    Event,
    Exchange,
    Hangup,
    Heartbeat,
    Limits,
    Listing,
    Refused,
    Request,
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
    Liquidation,
    MarketState,
    MarkPrice,
    OpenInterest,
    Record,
    SizeUnit,
    Ticker,
    Trade,
)
from aggregator.sequence import linked
from aggregator.wire import encode, ms, optional

PUBLIC: dict[Channel, str] = {
    "trades": "trades",
    "book": "books",
    "bbo": "bbo-tbt",
    "ticker": "tickers",
    "index_price": "index-tickers",
}
DERIVATIVES: dict[Channel, str] = {
    "open_interest": "open-interest",
    "mark_price": "mark-price",
    "liquidations": "liquidation-orders",
}
SWAPS: dict[Channel, str] = {"funding": "funding-rate"}
BUSINESS: dict[Channel, str] = {"candles": "candle"}
WIRES = {wire: channel for wires in (PUBLIC, DERIVATIVES, SWAPS) for channel, wire in wires.items()}
DEPTH = 400
KINDS: dict[str, Kind] = {"SPOT": "spot", "SWAP": "perpetual", "FUTURES": "future", "OPTION": "option"}
STATES: dict[str, MarketState] = {
    "live": "trading",
    "suspend": "halt",
    "preopen": "pre_open",
    "test": "unknown",
    "expired": "delisted",
    "settling": "settling",
}
UNITS = {"m": 60, "H": 3600, "h": 3600, "D": 86_400, "d": 86_400, "W": 604_800, "w": 604_800}  # seconds
NAMED = re.compile(r"instId:([^, ]+?) doesn't exist")

Row = tuple[str, str, str, str]  # price, size, "0", number of orders


class Arg(Struct):
    channel: str
    instId: str | None = None


class TradeWire(Struct, gc=False):
    instId: str
    tradeId: str  # of an aggregate: the last one
    px: str
    sz: str
    side: str  # the taker's
    ts: str
    count: str | None = None

    def record(self) -> Record:
        is_aggregate = self.count is not None and self.count != "1"
        return Trade(
            raw_symbol=self.instId,
            id=self.tradeId,
            price=self.px,
            size=self.sz,
            side="buy" if self.side == "buy" else "sell",
            size_unit=unit(self.instId),
            kind="aggregate" if is_aggregate else "trade",
            last_id=self.tradeId if is_aggregate else None,
            count=int(self.count) if is_aggregate and self.count else None,
            ts_event=int(self.ts) * 1_000_000,
        )


class TickerWire(Struct, gc=False):
    instId: str
    last: str
    open24h: str
    high24h: str
    low24h: str
    vol24h: str  # derivatives: contracts
    volCcy24h: str  # spot: the quote asset; derivatives: the base asset
    ts: str

    def record(self) -> Record:
        is_spot = unit(self.instId) == "base"
        return Ticker(
            raw_symbol=self.instId,
            last=optional(self.last),
            open=optional(self.open24h),
            high=optional(self.high24h),
            low=optional(self.low24h),
            base_volume=optional(self.vol24h if is_spot else self.volCcy24h),
            quote_volume=optional(self.volCcy24h) if is_spot else None,
            window_s=86_400,
            ts_event=ms(self.ts),
        )


class BookWire(Struct, gc=False):
    asks: list[Row]
    bids: list[Row]
    ts: str
    seqId: int | None = None
    prevSeqId: int | None = None
    checksum: int | None = None


class BestWire(Struct, gc=False):
    asks: list[Row]
    bids: list[Row]
    ts: str
    seqId: int | None = None


class FundingWire(Struct):
    instId: str
    fundingRate: str
    fundingTime: str
    nextFundingRate: str | None = None
    nextFundingTime: str | None = None
    settFundingRate: str | None = None
    settState: str | None = None
    ts: str | None = None

    def records(self) -> Iterable[Record]:
        due, after = ms(self.fundingTime), ms(self.nextFundingTime) if self.nextFundingTime else None
        interval = None if after is None else (after - due) // 10**9
        at = ms(self.ts) if self.ts else None
        yield Funding(raw_symbol=self.instId, rate=self.fundingRate, interval_s=interval, ts_next=due, ts_event=at)
        if self.nextFundingRate:
            yield Funding(
                raw_symbol=self.instId,
                rate=self.nextFundingRate,
                kind="predicted",
                interval_s=interval,
                ts_next=after,
                ts_event=at,
            )
        if self.settFundingRate and self.settState == "settled":
            before = None if interval is None else due - interval * 10**9
            yield Funding(
                raw_symbol=self.instId,
                rate=self.settFundingRate,
                kind="settled",
                interval_s=interval,
                ts_next=before,
                ts_event=at,
            )


class OpenWire(Struct):
    instId: str
    oi: str  # contracts
    ts: str
    oiCcy: str | None = None  # the base asset

    def record(self) -> Record:
        return OpenInterest(
            raw_symbol=self.instId,
            size=self.oi,
            size_unit="contract",
            base_size=optional(self.oiCcy),
            ts_event=ms(self.ts),
        )


class MarkWire(Struct):
    instId: str
    markPx: str
    ts: str

    def record(self) -> Record:
        return MarkPrice(raw_symbol=self.instId, price=self.markPx, ts_event=ms(self.ts))


class IndexWire(Struct):
    instId: str  # the index's
    idxPx: str
    ts: str

    def record(self) -> Record:
        return IndexPrice(raw_symbol=self.instId, price=self.idxPx, index=self.instId, ts_event=ms(self.ts))


class ForcedWire(Struct):
    side: str  # the forced order's
    sz: str
    bkPx: str
    ts: str
    posSide: str = ""  # "net" where positions are not held apart


class LiquidationWire(Struct):
    instId: str
    details: list[ForcedWire]

    def records(self) -> Iterable[Record]:
        for d in self.details:
            yield Liquidation(
                raw_symbol=self.instId,
                side="buy" if d.side == "buy" else "sell",
                position="short" if d.side == "buy" else "long",
                price=optional(d.bkPx),
                price_kind="bankruptcy",
                size=d.sz,
                size_unit=unit(self.instId),
                ts_event=ms(d.ts),
                sampled=True,  # at most one an instrument and second
            )


class Frame(Struct, gc=False):
    arg: Arg | None = None
    data: Raw = Raw()
    action: str | None = None
    event: str | None = None
    code: str = ""
    msg: str = ""


decode = Decoder(Frame).decode
decode_trades = Decoder(list[TradeWire]).decode
decode_tickers = Decoder(list[TickerWire]).decode
decode_books = Decoder(list[BookWire]).decode
decode_bests = Decoder(list[BestWire]).decode
decode_fundings = Decoder(list[FundingWire]).decode
decode_open = Decoder(list[OpenWire]).decode
decode_marks = Decoder(list[MarkWire]).decode
decode_indices = Decoder(list[IndexWire]).decode
decode_liquidations = Decoder(list[LiquidationWire]).decode
decode_candles = Decoder(list[list[str]]).decode


def unit(raw_symbol: str) -> SizeUnit:
    """Spot is BASE-QUOTE; whatever has more parts is a contract."""
    return "base" if raw_symbol.count("-") == 1 else "contract"


def parse(frame: bytes) -> Iterable[Event]:
    if frame == b"pong":
        return ()
    said = decode(frame)
    if said.event is not None:
        return parse_event(said)
    if said.arg is None:
        raise BadFrame("neither an event nor data of a channel")
    read = READERS.get(said.arg.channel)
    if read is not None:
        return read(said)
    return read_candles(said) if said.arg.channel.startswith("candle") else ()


def parse_event(said: Frame) -> Iterable[Event]:
    wire, raw_symbol = (said.arg.channel, said.arg.instId) if said.arg else ("", None)
    channel = "candles" if wire.startswith("candle") else WIRES.get(wire)
    if said.event == "subscribe":
        return (Accepted(channel=channel, raw_symbol=raw_symbol),)
    if said.event == "error":
        named = NAMED.search(said.msg)
        return (Refused(f"{said.code}: {said.msg}", channel=channel, raw_symbol=raw_symbol or (named and named[1])),)
    return (Hangup(f"{said.code}: {said.msg}"),) if said.event == "notice" and said.code == "64008" else ()


def read_books(said: Frame) -> Iterable[Event]:
    raw_symbol = said.arg.instId if said.arg else None
    is_delta = said.action == "update"
    found: list[Event] = []
    for b in decode_books(said.data):
        bids, asks = [(row[0], row[1]) for row in b.bids], [(row[0], row[1]) for row in b.asks]
        at = int(b.ts) * 1_000_000
        if is_delta:
            found.append(
                BookDelta(
                    raw_symbol=raw_symbol,
                    bids=bids,
                    asks=asks,
                    checksum=b.checksum or None,
                    sequence=b.seqId,
                    sequence_prev=b.prevSeqId,
                    ts_event=at,
                )
            )
        else:
            found.append(
                BookSnapshot(
                    raw_symbol=raw_symbol,
                    bids=bids,
                    asks=asks,
                    checksum=b.checksum or None,
                    sequence=b.seqId,
                    reason="initial" if said.action else "periodic",
                    ts_event=at,
                )
            )
    return found


def read_bests(said: Frame) -> Iterable[Event]:
    return [
        Bbo(
            raw_symbol=said.arg.instId if said.arg else None,
            bid_price=b.bids[0][0] if b.bids else None,
            bid_size=b.bids[0][1] if b.bids else None,
            ask_price=b.asks[0][0] if b.asks else None,
            ask_size=b.asks[0][1] if b.asks else None,
            sequence=b.seqId,
            ts_event=ms(b.ts),
        )
        for b in decode_bests(said.data)
    ]


def read_candles(said: Frame) -> Iterable[Event]:
    """Rows of open time, four prices, volume in contracts or base, in base or quote, in quote, and whether closed."""
    raw_symbol = (said.arg.instId if said.arg else None) or ""
    name = said.arg.channel.removeprefix("candle") if said.arg else ""
    is_spot = unit(raw_symbol) == "base"
    seconds = int(name[:-1]) * UNITS[name[-1]] if name[:-1].isdecimal() and name[-1] in UNITS else None
    return [
        Candle(
            raw_symbol=raw_symbol,
            interval=name[:-1] + name[-1].lower() if seconds else name,
            ts_open=ms(row[0]),
            ts_close=None if seconds is None else ms(row[0]) + seconds * 10**9,
            open=row[1],
            high=row[2],
            low=row[3],
            close=row[4],
            base_volume=row[5] if is_spot else row[6],
            quote_volume=row[7] if len(row) > 8 else (row[6] if is_spot else None),
            closed=row[8] == "1" if len(row) > 8 else None,
        )
        for row in decode_candles(said.data)
    ]


READERS: dict[str, Callable[[Frame], Iterable[Event]]] = {
    "trades": lambda said: [t.record() for t in decode_trades(said.data)],
    "trades-all": lambda said: [t.record() for t in decode_trades(said.data)],
    "tickers": lambda said: [t.record() for t in decode_tickers(said.data)],
    "books": read_books,
    "books5": read_books,
    "books-l2-tbt": read_books,
    "books50-l2-tbt": read_books,
    "bbo-tbt": read_bests,
    "funding-rate": lambda said: [r for f in decode_fundings(said.data) for r in f.records()],
    "open-interest": lambda said: [o.record() for o in decode_open(said.data)],
    "mark-price": lambda said: [m.record() for m in decode_marks(said.data)],
    "index-tickers": lambda said: [i.record() for i in decode_indices(said.data)],
    "liquidation-orders": lambda said: [r for w in decode_liquidations(said.data) for r in w.records()],
}


def frames(op: str) -> Callable[[Sequence[Subscription], int], Iterable[bytes]]:
    def ask(wanted: Sequence[Subscription], _: int) -> Iterable[bytes]:
        args = [argument(s) for s in wanted]
        yield encode({"op": op, "args": [arg for at, arg in enumerate(args) if arg not in args[:at]]})

    return ask


def argument(s: Subscription) -> dict[str, str]:
    if s.channel == "candles":
        interval = s.interval if s.interval[-1] in "mM" else s.interval[:-1] + s.interval[-1].upper()
        return {"channel": f"candle{interval}", "instId": s.raw_symbol}
    if s.channel == "liquidations":
        return {"channel": "liquidation-orders", "instType": "SWAP" if s.raw_symbol.endswith("-SWAP") else "FUTURES"}
    return {"channel": next(w for w, c in WIRES.items() if c == s.channel), "instId": s.raw_symbol}


class InstrumentWire(Struct):
    instType: str
    instId: str
    state: str
    tickSz: str
    lotSz: str
    minSz: str
    baseCcy: str = ""
    quoteCcy: str = ""
    settleCcy: str = ""
    ctVal: str = ""
    ctMult: str = ""
    ctType: str = ""
    uly: str = ""
    instFamily: str = ""
    expTime: str = ""
    stk: str = ""
    optType: str = ""
    maxLmtSz: str = ""
    listTime: str = ""


class Answer(Struct):
    data: list[Raw]


decode_answer = Decoder(Answer).decode
decode_instrument = Decoder(InstrumentWire).decode


def rows(body: bytes) -> Iterable[Raw]:
    return decode_answer(body).data


def read_instrument(row: Raw) -> Instrument | None:
    i = decode_instrument(row)
    kind = KINDS.get(i.instType)
    if kind is None:
        return None
    base, quote = (i.baseCcy, i.quoteCcy) if kind == "spot" else (i.instFamily or i.uly).split("-")[:2]
    is_contract = kind in {"perpetual", "future"}
    return Instrument(
        raw_symbol=i.instId,
        kind=kind,
        base=base,
        quote=quote.partition("_")[0],
        settle=optional(i.settleCcy),
        linear=i.ctType == "linear" if is_contract else None,
        contract_size=contract_size(i),
        tick_size=optional(i.tickSz),
        lot_size=optional(i.lotSz),
        min_size=optional(i.minSz),
        max_size=optional(i.maxLmtSz),
        expiry=ms(i.expTime) if i.expTime else None,
        strike=optional(i.stk),
        option_type={"C": "call", "P": "put"}.get(i.optType),  # type: ignore[arg-type]
        state=STATES.get(i.state, "unknown"),
        ts_listed=ms(i.listTime) if i.listTime else None,
    )


def contract_size(i: InstrumentWire) -> str | None:
    """The value of one contract times its multiplier, which is 1 but for options."""
    if i.ctMult in {"", "1"} or i.ctVal == "1":
        return optional(i.ctMult if i.ctVal == "1" else i.ctVal)
    return None


def is_derivative(instrument: Instrument) -> bool:
    return instrument.kind != "spot"


def is_perpetual(instrument: Instrument) -> bool:
    return instrument.kind == "perpetual"


def exchange(id: str, *, docs: str, ws: str, rest: str, types: Sequence[str] = tuple(KINDS)) -> Exchange:
    """Declare an exchange that speaks OKX, by its addresses and the kinds of instruments that it has."""

    def stream(
        name: str, path: str, channels: dict[Channel, str], serves: Callable[[Instrument], bool] | None = None
    ) -> Stream:
        return Stream(
            name=name,
            url=f"{ws}/{path}",
            channels=channels,
            serves=serves or (lambda _: True),
            subscribe=frames("subscribe"),
            unsubscribe=frames("unsubscribe"),
            parse=parse,
            sequence={"book": linked} if "book" in channels else {},
            depth=DEPTH,
            heartbeat=Heartbeat(every=20, frame=b"ping"),
            patience=45,  # a ping is answered even when nothing else is to be said
            per_connection=400,
            batch=100,
            pace=0.35,
        )

    requests = [Request(f"{rest}/public/instruments?instType={kind}") for kind in types if kind != "OPTION"]
    if "OPTION" in types:
        requests += [
            Request(f"{rest}/public/instruments?instType=OPTION&instFamily={family}")
            for family in ("BTC-USD", "ETH-USD")
        ]
    return Exchange(
        id=id,
        docs=docs,
        limits=Limits(weights={rest: (20, 2)}, connects=(3, 1)),
        listing=Listing(tuple(requests), rows, read_instrument),
        feeds=(
            stream("public", "public", PUBLIC),
            stream("derivatives", "public", DERIVATIVES, is_derivative),
            stream("swaps", "public", SWAPS, is_perpetual),
            stream("business", "business", BUSINESS),
        ),
    )
