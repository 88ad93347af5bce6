"""Gate's lists of instruments, and what else is asked for by REST: whole books, past trades.

https://www.gate.com/docs/developers/apiv4/en/
"""

from collections.abc import Iterable, Sequence

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.exchange import Backfill, Listing, Request, Since, Snapshot, no_more
from aggregator.records import SECOND_NS, BookSnapshot, Instrument, MarketState, Side, Trade
from aggregator.wire import Text, ms, number, optional, seconds, step, text
from connectors.families.gate.contract_wires import LevelWire, levels

PAGE = 100  # perpetual contracts in a list, unless it has all of them
PARTS = {"X-Gate-Size-Decimal": "1"}  # without it sizes of futures are cut to whole contracts: -0.4 becomes 0

STATES: dict[str, MarketState] = {
    "untradable": "halt",  # spot
    "buyable": "trading",
    "sellable": "trading",
    "tradable": "trading",
    "prelaunch": "pre_open",  # contracts
    "trading": "trading",
    "delisting": "settling",
    "delisted": "delisted",
    "circuit_breaker": "halt",
}


class PairWire(Struct):
    id: str
    base: str
    quote: str
    trade_status: str
    precision: int | None = None  # decimals of a price
    amount_precision: int | None = None
    min_base_amount: Text = None
    max_base_amount: Text = None
    min_quote_amount: Text = None
    buy_start: int = 0  # when trading begins; before, since `sell_start`, only sales are taken


class ContractWire(Struct):
    """`BTC_USDT`, dated `BTC_USDT_20261225`, or an option, `BTC_USDT-20261225-90000-C`."""

    name: str
    order_price_round: Text = None
    order_size_min: Text = None
    order_size_max: Text = None
    create_time: int = 0
    launch_time: int = 0
    status: str = ""
    in_delisting: bool = False
    funding_interval: int = 0  # s, of perpetual contracts
    funding_next_apply: int = 0  # s
    quanto_multiplier: Text = None  # in the base asset; "0" for inverse contracts, which are one US dollar each
    enable_decimal: bool = False  # True: parts of a contract are traded, in steps of the smallest order
    expire_time: int = 0  # dated contracts only
    underlying: str = ""  # dated contracts and options only
    multiplier: Text = None  # options only, as what follows
    expiration_time: int = 0
    strike_price: Text = None
    is_call: bool | None = None
    is_active: bool = True


class BookWire(Struct):
    id: int
    bids: list[LevelWire]
    asks: list[LevelWire]
    update: Text = None  # s, with decimals


class PastWire(Struct):
    currency_pair: str
    id: str
    side: Side
    amount: str
    price: str
    create_time_ms: str
    sequence_id: int  # the stream's `id_market`


class Named(Struct):
    """The field that a contract has and a pair has not."""

    name: str | None = None


decode_rows = Decoder(list[Raw]).decode
decode_named = Decoder(Named).decode
decode_pair = Decoder(PairWire, strict=False, float_hook=number).decode
decode_contract = Decoder(ContractWire, strict=False, float_hook=number).decode
decode_book = Decoder(BookWire, strict=False, float_hook=number).decode
decode_past = Decoder(list[PastWire], strict=False).decode


def read_instrument(row: Raw) -> Instrument:
    if decode_named(row).name is None:
        return read_pair(decode_pair(row))
    contract = decode_contract(row)
    return read_future(contract) if contract.is_call is None else read_option(contract)


def read_pair(pair: PairWire) -> Instrument:
    return Instrument(
        raw_symbol=pair.id,
        base=pair.base,
        quote=pair.quote,
        tick_size=step(pair.precision),
        lot_size=step(pair.amount_precision),
        min_size=optional(pair.min_base_amount),
        max_size=optional(pair.max_base_amount),
        min_notional=optional(pair.min_quote_amount),
        state=STATES.get(pair.trade_status, "unknown"),
        ts_listed=pair.buy_start * SECOND_NS or None,
    )


def read_future(contract: ContractWire) -> Instrument:
    base, quote = contract.name.split("_")[:2]
    is_inverse = quote == "USD"  # those settle in bitcoin, others in what they are quoted in
    state = "delisting" if contract.in_delisting else "trading"
    interval, due = contract.funding_interval, contract.funding_next_apply
    return Instrument(
        raw_symbol=contract.name,
        kind="future" if contract.expire_time else "perpetual",
        base=base,
        quote=quote,
        settle="BTC" if is_inverse else quote,
        linear=not is_inverse,
        contract_size="1" if contract.quanto_multiplier in {"0", 0} else optional(contract.quanto_multiplier),
        tick_size=optional(contract.order_price_round),
        lot_size=optional(contract.order_size_min) if contract.enable_decimal else "1",
        min_size=optional(contract.order_size_min),
        max_size=optional(contract.order_size_max),
        expiry=contract.expire_time * SECOND_NS or None,
        state=STATES.get(contract.status or state, "unknown"),
        ts_listed=(contract.launch_time or contract.create_time) * SECOND_NS or None,
        funding_interval_s=interval or None,
        funding_offset_s=due % interval if interval and due else None,
    )


def read_option(contract: ContractWire) -> Instrument:
    base, _, quote = contract.underlying.partition("_")
    return Instrument(
        raw_symbol=contract.name,
        kind="option",
        base=base,
        quote=quote,
        settle=quote,
        linear=True,
        contract_size=optional(contract.multiplier),
        tick_size=optional(contract.order_price_round),
        lot_size="1",
        min_size=optional(contract.order_size_min),
        max_size=optional(contract.order_size_max),
        expiry=contract.expiration_time * SECOND_NS or None,
        strike=optional(contract.strike_price),
        option_type="call" if contract.is_call else "put",
        state="trading" if contract.is_active else "halt",
        ts_listed=contract.create_time * SECOND_NS or None,
    )


class UnderlyingWire(Struct):
    """The underlying of options: it has a name and an index price; a contract has a step of prices as well."""

    name: str = ""
    index_price: Text = None
    order_price_round: Text = None

    @property
    def is_one(self) -> bool:
        """Tell whether this is an underlying, and no instrument."""
        return self.index_price is not None and self.order_price_round is None


decode_underlying = Decoder(UnderlyingWire, float_hook=number).decode


def asking(url: str) -> Request:
    return Request(url, headers=PARTS if "/futures/" in url or "/delivery/" in url else {})


def rows(body: bytes) -> Iterable[Raw]:
    """The instruments of an answer; one that lists the underlyings of options holds none."""
    found = decode_rows(body)
    return [] if found and decode_underlying(found[0]).is_one else found


def more(request: Request, body: bytes) -> Iterable[Request]:
    """The next page of perpetual contracts; and one request for each underlying that an answer names.

    https://www.gate.com/docs/developers/apiv4/en/#list-all-underlyings
    https://www.gate.com/docs/developers/apiv4/en/#query-all-futures-contracts
    """
    options, path, _ = request.url.partition("/underlyings")
    if not path:
        return next_page(request, body)
    return [asking(f"{options}/contracts?underlying={decode_underlying(row).name}") for row in decode_rows(body)]


def next_page(request: Request, body: bytes) -> Iterable[Request]:
    """The request after a full page, whose size is that of the exchange's client libraries; a longer list is whole."""
    url, _, offset = request.url.partition(f"?limit={PAGE}&offset=")
    if "/futures/" not in url or len(decode_rows(body)) != PAGE:
        return ()
    return [asking(f"{url}?limit={PAGE}&offset={int(offset or 0) + PAGE}")]


def listing(api: str, paths: Sequence[str]) -> Listing:
    return Listing(
        tuple(asking(f"{api}/{path}") for path in paths),
        rows,
        read_instrument,
        more if any(path.startswith(("futures", "options")) for path in paths) else no_more,
        state=("trade_status", "status"),
    )


def read_book(raw_symbol: str, body: bytes) -> BookSnapshot:
    book = decode_book(body)
    return BookSnapshot(
        raw_symbol=raw_symbol,
        bids=levels(book.bids),
        asks=levels(book.asks),
        sequence=book.id,
        ts_event=seconds(book.update) if book.update else None,
    )


def snapshot(api: str, path: str, depth: int) -> Snapshot:
    """Whole books, of as many levels as the stream tells changes of."""

    def request(raw_symbol: str) -> Request:
        return asking(f"{api}/{path}/order_book?contract={raw_symbol}&limit={depth}&with_id=true")

    def parse(raw_symbol: str, body: bytes) -> BookSnapshot:
        book = read_book(raw_symbol, body)
        book.depth = depth
        return book

    return Snapshot(request=request, parse=parse)


def read_past(_: str, body: bytes) -> Iterable[Trade]:
    """Oldest first."""
    for past in sorted(decode_past(body), key=lambda past: past.sequence_id):
        yield Trade(
            raw_symbol=past.currency_pair,
            id=past.id,
            price=text(past.price),
            size=text(past.amount),
            side=past.side,
            sequence=past.sequence_id,
            ts_event=ms(past.create_time_ms),
        )


def backfill(api: str) -> Backfill:
    """Spot trades are asked for by time, because the numbers of a market are no parameter."""

    def request(raw_symbol: str, since: Since) -> Request:
        return Request(f"{api}/spot/trades?currency_pair={raw_symbol}&limit=1000&from={since.ts // SECOND_NS}")

    return Backfill(request, read_past)
