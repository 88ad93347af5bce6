"""Requests to futures of the Binance protocol by REST: contracts, whole books, past trades, open interest.

https://developers.binance.com/docs/derivatives/usds-margined-futures/market-data/rest-api
"""

from collections.abc import Callable, Iterable

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.exchange import Backfill, Details, Listing, Poll, Request, Since, Snapshot
from aggregator.records import HOUR_S, MS_NS, BookSnapshot, Instrument, Levels, OpenInterest, Record, SizeUnit, Trade
from aggregator.wire import Text, at, ms, number, optional
from connectors.families.binance.futures_wires import STATES
from connectors.families.binance.rest import Filter, read_filters

DEPTH = 1000  # levels a side of a book
NEVER_MS = 4133404800000  # the delivery date (2100-12-25) of what has none


class ContractWire(Struct):
    symbol: str
    contractType: str  # `PERPETUAL`, `TRADIFI_PERPETUAL`, `CURRENT_QUARTER`…; empty of some that are not yet traded
    deliveryDate: int
    baseAsset: str
    quoteAsset: str
    marginAsset: str
    onboardDate: int = 0
    status: str = ""
    contractStatus: str = ""  # inverse ones have this instead
    contractSize: Text = 1  # in the quote asset; linear ones have none, and are counted in the base asset
    filters: list[Filter] = []


class FundingWire(Struct):
    symbol: str
    fundingIntervalHours: int | None


class BookWire(Struct):
    lastUpdateId: int
    bids: Levels
    asks: Levels
    E: int
    T: int


class PastWire(Struct):
    a: int
    p: str
    q: str
    f: int
    l: int  # noqa: E741 - the wire's name
    T: int
    m: bool  # the buyer was the maker


class InterestWire(Struct):
    symbol: str
    openInterest: str
    time: int


decode_contract = Decoder(ContractWire, float_hook=number).decode
decode_fundings = Decoder(list[Raw]).decode
decode_funding = Decoder(FundingWire).decode
decode_book = Decoder(BookWire).decode
decode_past = Decoder(list[PastWire]).decode
decode_interest = Decoder(InterestWire).decode


def read_contract(row: Raw) -> Instrument:
    c = decode_contract(row)
    is_perpetual = "PERPETUAL" in c.contractType or c.deliveryDate == NEVER_MS
    instrument = Instrument(
        raw_symbol=c.symbol,
        kind="perpetual" if is_perpetual else "future",
        base=c.baseAsset,
        quote=c.quoteAsset,
        settle=c.marginAsset,
        linear=c.marginAsset == c.quoteAsset,
        contract_size=optional(c.contractSize),
        expiry=None if is_perpetual else ms(c.deliveryDate),
        state=STATES.get(c.status or c.contractStatus, "unknown"),
        ts_listed=ms(c.onboardDate) if c.onboardDate else None,
    )
    read_filters(instrument, c.filters)
    return instrument


def read_funding(row: Raw) -> Instrument:
    """Only contracts whose interval, cap or floor was ever adjusted have a row; what holds of others is not said."""
    f = decode_funding(row)
    hours = f.fundingIntervalHours
    return Instrument(raw_symbol=f.symbol, kind="perpetual", funding_interval_s=hours * HOUR_S if hours else None)


def read_snapshot(raw_symbol: str, body: bytes) -> BookSnapshot:
    b = decode_book(body)
    return BookSnapshot(
        raw_symbol=raw_symbol,
        bids=b.bids,
        asks=b.asks,
        sequence=b.lastUpdateId,
        depth=DEPTH,
        ts_event=ms(b.T),
        ts_sent=ms(b.E),
    )


def past_reader(*, inverse: bool) -> Callable[[str, bytes], Iterable[Trade]]:
    def read_past(raw_symbol: str, body: bytes) -> Iterable[Trade]:
        """Oldest first on the wire."""
        for past in decode_past(body):
            yield Trade(
                raw_symbol=raw_symbol,
                id=str(past.a),
                price=past.p,
                size=past.q,
                size_unit="contract" if inverse else "base",
                side="sell" if past.m else "buy",
                kind="aggregate",
                first_id=str(past.f),
                last_id=str(past.l),
                count=past.l - past.f + 1,
                sequence=past.a,
                ts_event=ms(past.T),
            )

    return read_past


def interest_reader(*, inverse: bool) -> Callable[[str, bytes], Iterable[Record]]:
    def read_interest(_: str, body: bytes) -> Iterable[Record]:
        i = decode_interest(body)
        unit: SizeUnit = "contract" if inverse else "base"
        yield OpenInterest(raw_symbol=i.symbol, size=i.openInterest, size_unit=unit, ts_event=ms(i.time))

    return read_interest


def funding_intervals(rest: str) -> Details:
    return Details(Request(f"{rest}/fundingInfo"), decode_fundings, read_funding)


def listing(rest: str) -> Listing:
    return Listing(
        (Request(f"{rest}/exchangeInfo"),),
        at("symbols"),
        read_contract,
        state=("status", "contractStatus"),
        details=(funding_intervals(rest),),
    )


def snapshot(rest: str) -> Snapshot:
    def request(raw_symbol: str) -> Request:
        return Request(f"{rest}/depth?symbol={raw_symbol}&limit={DEPTH}", weight=20)

    return Snapshot(request=request, parse=read_snapshot)


def backfill(rest: str, *, inverse: bool) -> Backfill:
    """Aggregates are asked for by number; they go two days back, and need no key."""

    def request(raw_symbol: str, since: Since) -> Request:
        from_time = f"&startTime={since.ts // MS_NS}"
        start = from_time if since.sequence is None else f"&fromId={since.sequence + 1}"
        return Request(f"{rest}/aggTrades?symbol={raw_symbol}&limit=1000{start}", weight=20)

    return Backfill(request, past_reader(inverse=inverse))


def open_interest(rest: str, *, inverse: bool) -> Poll:
    return Poll(
        name="open_interest",
        channels=("open_interest",),
        every=60,
        request=lambda raw_symbol: Request(f"{rest}/openInterest?symbol={raw_symbol}"),
        parse=interest_reader(inverse=inverse),
    )
