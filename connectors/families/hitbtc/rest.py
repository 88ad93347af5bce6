"""What is asked for by REST: the list of symbols, and what is told of futures.

https://api.hitbtc.com/#symbols
"""

from collections.abc import Iterable
from typing import Literal

from msgspec import Raw, Struct
from msgspec.json import Decoder, encode

from aggregator.exchange import Listing, Poll, Request
from aggregator.records import Funding, IndexPrice, Instrument, MarkPrice, OpenInterest, Record
from aggregator.wire import from_iso, nonzero

DESK = "_BQX"  # of names that are listed, and that no request knows


class SymbolWire(Struct):
    type: Literal["spot", "futures"]
    quote_currency: str
    quantity_increment: str
    tick_size: str
    base_currency: str | None = None  # of a contract it is null
    underlying: str | None = None
    fee_currency: str | None = None  # in which a contract settles
    expiry: str | None = None


class FutureWire(Struct):
    timestamp: str
    mark_price: str | None = None
    index_price: str | None = None
    funding_rate: str | None = None
    indicative_funding_rate: str | None = None  # that of the interval after, as it looks now
    next_funding_time: str | None = None
    open_interest: str | None = None  # in the underlying

    def records(self, name: str) -> Iterable[Record]:
        at = from_iso(self.timestamp)
        if mark := nonzero(self.mark_price):
            yield MarkPrice(raw_symbol=name, price=mark, ts_event=at)
        if index := nonzero(self.index_price):
            yield IndexPrice(raw_symbol=name, price=index, ts_event=at)
        if self.funding_rate:
            due = from_iso(self.next_funding_time) if self.next_funding_time else None
            yield Funding(raw_symbol=name, rate=self.funding_rate, ts_next=due, ts_event=at)
        if self.indicative_funding_rate:
            yield Funding(raw_symbol=name, rate=self.indicative_funding_rate, kind="predicted", ts_event=at)
        if self.open_interest:
            yield OpenInterest(raw_symbol=name, size=self.open_interest, ts_event=at)


decode_symbols = Decoder(dict[str, Raw]).decode
decode_row = Decoder(tuple[str, SymbolWire]).decode
decode_futures = Decoder(dict[str, FutureWire]).decode


def rows(body: bytes) -> Iterable[Raw]:
    """A symbol's name stands outside of what is said of it: a row is both."""
    return [Raw(encode(pair)) for pair in decode_symbols(body).items()]


def read_symbol(row: Raw) -> Instrument | None:
    name, s = decode_row(row)
    if name.endswith(DESK):
        return None
    is_contract = s.type == "futures"
    expiry = from_iso(s.expiry) if s.expiry else None
    return Instrument(
        raw_symbol=name,
        kind="spot" if not is_contract else "perpetual" if expiry is None else "future",
        base=s.base_currency or s.underlying,
        quote=s.quote_currency,
        settle=s.fee_currency if is_contract else None,
        linear=s.fee_currency == s.quote_currency if is_contract else None,
        contract_size="1" if is_contract else None,  # sizes of contracts are in the underlying
        tick_size=s.tick_size,
        lot_size=s.quantity_increment,
        expiry=expiry,
    )


def listing(api: str) -> Listing:
    return Listing((Request(f"{api}/public/symbol"),), rows, read_symbol)


def futures(api: str) -> Poll:
    """What is told of every future at once, and is had by REST alone."""
    return Poll(
        name="futures",
        channels=("funding", "open_interest", "mark_price", "index_price"),
        every=10,
        request=lambda _: Request(f"{api}/public/futures/info"),
        parse=read_futures,
        serves=lambda instrument: instrument.kind != "spot",
        many=True,
    )


def read_futures(_: str, body: bytes) -> Iterable[Record]:
    return [record for name, future in decode_futures(body).items() for record in future.records(name)]
