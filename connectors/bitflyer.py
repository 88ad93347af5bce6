"""bitFlyer Lightning: JSON-RPC 2.0.

https://bf-lightning-api.readme.io/docs/realtime-api
The book is two channels: whole every few seconds, and what changed; neither has a number, nor a time.
No answer says how long a funding interval is: of the one market that has funding, `getfundingratehistory` has one every
eight hours, at 5, 13 and 21 o'clock UTC (2026-09, live probes by others).
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from decimal import Decimal

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.errors import BadFrame
from aggregator.exchange import (
    Accepted,
    Event,
    Exchange,
    Limits,
    Listing,
    Meaning,
    Poll,
    Refused,
    Request,
    Stream,
    Subscribe,
    Subscription,
)
from aggregator.records import (
    DAY_S,
    HOUR_S,
    SECOND_NS,
    BookDelta,
    BookSnapshot,
    Channel,
    Funding,
    Instrument,
    Level,
    Levels,
    MarketState,
    Record,
    Status,
    Ticker,
    Trade,
)
from aggregator.refusals import coded
from aggregator.wire import Text, bbo, encode, from_iso, is_zero, nonzero, number, optional, text

API = "https://api.bitflyer.com/v1"
CHANNELS: dict[Channel, str] = {
    "trades": "lightning_executions_",
    "book": "lightning_board_",
    "ticker": "lightning_ticker_",
    "bbo": "lightning_ticker_",
}
EIGHT_HOURS_S = 8 * HOUR_S
WHOLE = "lightning_board_snapshot_"
ALREADY, NO_CHANNEL = -32_009, -32_602  # codes of what is refused
STATES: dict[str, MarketState] = {
    "RUNNING": "trading",
    "CLOSED": "halt",
    "STARTING": "pre_open",
    "PREOPEN": "pre_open",
    "CIRCUIT BREAK": "halt",
    "AWAITING SQ": "settling",  # trading has ended, the settlement price is awaited
    "MATURED": "delisted",
}


class Message(Struct):
    channel: str
    message: Raw


class Frame(Struct):
    params: Message


class Execution(Struct, gc=False):
    id: int
    side: str  # the taker's; empty in an auction
    price: Text
    size: Text
    exec_date: str

    def record(self, raw_symbol: str) -> Trade:
        if self.side not in {"BUY", "SELL", ""}:
            raise BadFrame(f"a trade of side {self.side!r}")
        return Trade(
            raw_symbol=raw_symbol,
            id=str(self.id),
            price=text(self.price),
            size=text(self.size),
            side="buy" if self.side == "BUY" else "sell" if self.side else None,
            kind="trade" if self.side else "auction",
            ts_event=from_iso(self.exec_date),
        )


class Row(Struct, gc=False):
    price: Text  # 0: orders without a price, in an auction
    size: Text


class Board(Struct, gc=False):
    bids: list[Row]
    asks: list[Row]


class TickerWire(Struct, gc=False):
    product_code: str
    timestamp: str
    best_bid: Text = None
    best_ask: Text = None
    best_bid_size: Text = None
    best_ask_size: Text = None
    ltp: Text = None
    volume_by_product: Text = None

    def records(self) -> Iterable[Record]:
        name, at = self.product_code, from_iso(self.timestamp)
        volume = optional(self.volume_by_product)
        return (
            Ticker(raw_symbol=name, last=nonzero(self.ltp), base_volume=volume, window_s=DAY_S, ts_event=at),
            bbo(name, self.best_bid, self.best_bid_size, self.best_ask, self.best_ask_size, ts_event=at),
        )


class ErrorWire(Struct):
    code: int = 0
    message: str = ""
    data: str | None = None


class Answer(Struct):
    """The answer to a request, whose id is the name of the channel."""

    id: str | int | None = None
    error: ErrorWire | None = None


decode = Decoder(Frame).decode
decode_answer = Decoder(Answer).decode
decode_executions = Decoder(list[Execution], float_hook=number).decode
decode_board = Decoder(Board, float_hook=number).decode
decode_ticker = Decoder(TickerWire, float_hook=number).decode


def levels(rows: list[Row]) -> Levels:
    return [(price, text(row.size)) for row in rows if not is_zero(price := text(row.price))]


def at_price(level: Level) -> Decimal:
    return Decimal(level[0])


def parse(frame: bytes) -> Iterable[Event]:
    if b'"params"' not in frame:
        return parse_answer(decode_answer(frame))
    said = decode(frame).params
    name = said.channel
    if name.startswith(WHOLE):  # the order of levels is not certain
        board, product = decode_board(said.message), name.removeprefix(WHOLE)
        bids, asks = sorted(levels(board.bids), key=at_price, reverse=True), sorted(levels(board.asks), key=at_price)
        return (BookSnapshot(raw_symbol=product, bids=bids, asks=asks, reason="periodic"),)
    if name.startswith("lightning_board_"):
        board, product = decode_board(said.message), name.removeprefix("lightning_board_")
        return (BookDelta(raw_symbol=product, bids=levels(board.bids), asks=levels(board.asks)),)
    if name.startswith("lightning_executions_"):
        product = name.removeprefix("lightning_executions_")
        return [execution.record(product) for execution in decode_executions(said.message)]
    if name.startswith("lightning_ticker_"):
        return decode_ticker(said.message).records()
    return ()


def parse_answer(said: Answer) -> Iterable[Event]:
    name = str(said.id).replace(WHOLE, "lightning_board_")
    topics = [(ours, name.removeprefix(prefix)) for ours, prefix in CHANNELS.items() if name.startswith(prefix)]
    if said.error is not None and said.error.code != ALREADY:
        reason = said.error.data or said.error.message
        meaning: Meaning = "final" if said.error.code == NO_CHANNEL else "unknown"
        refused = [Refused(reason, channel=ours, raw_symbol=product, meaning=meaning) for ours, product in topics]
        return refused or (Refused(reason, meaning=meaning),)
    return [Accepted(channel=ours, raw_symbol=product) for ours, product in topics]


def asking(method: str) -> Subscribe:
    def ask(wanted: Sequence[Subscription], _: int) -> Iterable[bytes]:
        names = [CHANNELS[s.channel] + s.raw_symbol for s in wanted]
        names += [WHOLE + s.raw_symbol for s in wanted if s.channel == "book"]
        return [encode(call(method, name)) for name in dict.fromkeys(names)]

    return ask


def call(method: str, name: str) -> dict[str, object]:
    return {"jsonrpc": "2.0", "method": method, "params": {"channel": name}, "id": name}


class BoardState(Struct):
    health: str = ""
    state: str = ""


class FundingWire(Struct):
    current_funding_rate: Text
    next_funding_rate_settledate: str


class Market(Struct):
    product_code: str
    market_type: str = "Spot"


decode_state = Decoder(BoardState).decode
decode_funding = Decoder(FundingWire, float_hook=number).decode
decode_markets = Decoder(list[Raw]).decode
decode_market = Decoder(Market).decode


def read_state(raw_symbol: str, body: bytes) -> Iterable[Record]:
    said = decode_state(body)
    if not said.state:
        raise BadFrame(f"no state of {raw_symbol}")
    state = STATES.get(said.state, "unknown")
    reason = said.state if state == "unknown" else said.health or None
    return (Status(raw_symbol=raw_symbol, state=state, reason=reason),)


def read_funding(raw_symbol: str, body: bytes) -> Iterable[Record]:
    said = decode_funding(body)
    due = from_iso(said.next_funding_rate_settledate)
    return (Funding(raw_symbol=raw_symbol, rate=text(said.current_funding_rate), ts_next=due),)


def rows(body: bytes) -> Iterable[Raw]:
    """The rows. The lists of the United States and Europe repeat Japan's markets: only dollars and euros are theirs."""
    found = decode_markets(body)
    is_whole = any(b'"FX_BTC_JPY"' in bytes(row) for row in found)
    return [row for row in found if is_whole or b'_USD"' in bytes(row) or b'_EUR"' in bytes(row)]


def read_market(row: Raw) -> Instrument:
    wire = decode_market(row)
    name = wire.product_code
    if wire.market_type == "Futures":  # `BTCJPY24DEC2021`
        day = datetime.strptime(name[-9:], "%d%b%Y").replace(tzinfo=UTC)
        base, quote = name[:-12], name[-12:-9]
        expiry = int(day.timestamp()) * SECOND_NS
        return Instrument(
            raw_symbol=name, kind="future", base=base, quote=quote, settle=quote, linear=True, expiry=expiry
        )
    base, _, quote = name.removeprefix("FX_").partition("_")
    if wire.market_type == "FX":
        return Instrument(
            raw_symbol=name,
            kind="perpetual",
            base=base,
            quote=quote,
            settle=quote,
            linear=True,
            funding_interval_s=EIGHT_HOURS_S,
        )
    return Instrument(raw_symbol=name, base=base, quote=quote)


EXCHANGE = Exchange(
    id="bitflyer",
    docs="https://lightning.bitflyer.com/docs?lang=en",
    checked="2026-09, live probes by others",
    trouble=coded("status", "error_message", fine=(), busy=("-1",)),  # -1: over the limit of an address
    notes=(
        "The book has neither numbers nor times; it comes whole every few seconds, which mends what was lost.",
        "Trades of an auction have no side.",
        "A product that there is not is confirmed like any other, and then silent.",
        "The listing says no steps of prices or sizes; of a dated contract it says the day alone.",
    ),
    limits=Limits(weights={API: ((500, 300),)}),
    listing=Listing(
        (Request(f"{API}/getmarkets"), Request(f"{API}/getmarkets/usa"), Request(f"{API}/getmarkets/eu")),
        rows,
        read_market,
    ),
    feeds=(
        Stream(
            url="wss://ws.lightstream.bitflyer.com/json-rpc",
            channels=CHANNELS,
            subscribe=asking("subscribe"),
            unsubscribe=asking("unsubscribe"),
            parse=parse,
            periodic_joins=True,
            patience=180,  # there is no heartbeat, and a market may be that quiet
        ),
        Poll(
            name="state",
            channels=("status",),
            every=60,
            request=lambda s: Request(f"{API}/getboardstate?product_code={s}"),
            parse=read_state,
        ),
        Poll(
            name="funding",
            channels=("funding",),
            every=60,
            request=lambda s: Request(f"{API}/getfundingrate?product_code={s}"),
            parse=read_funding,
            serves=lambda instrument: instrument.kind == "perpetual",
        ),
    ),
)
