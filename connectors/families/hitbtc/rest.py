"""The request by REST: the list of symbols.

https://api.hitbtc.com/#symbols
https://support.hitbtc.com/en/support/solutions/articles/63000264355-what-is-futures-funding-fee-
No answer says how long a funding interval is; the second page says it of all: eight hours.
"""

from collections.abc import Iterable
from typing import Literal

from msgspec import Raw, Struct
from msgspec.json import Decoder, encode

from aggregator.exchange import Listing, Request
from aggregator.records import HOUR_S, Instrument
from aggregator.wire import from_iso

EIGHT_HOURS_S = 8 * HOUR_S
DESK = "_BQX"  # the end of names that are listed, and that no request knows


class SymbolWire(Struct):
    type: Literal["spot", "futures"]
    quote_currency: str
    quantity_increment: str
    tick_size: str
    base_currency: str | None = None  # null for a contract
    underlying: str | None = None
    fee_currency: str | None = None  # in which a contract settles
    expiry: str | None = None


decode_symbols = Decoder(dict[str, Raw]).decode
decode_row = Decoder(tuple[str, SymbolWire]).decode


def rows(body: bytes) -> Iterable[Raw]:
    """A symbol's name stands outside of what is said of it: a row is both."""
    return [Raw(encode(pair)) for pair in decode_symbols(body).items()]


def read_symbol(row: Raw) -> Instrument | None:
    name, s = decode_row(row)
    if name.endswith(DESK):
        return None
    is_contract = s.type == "futures"
    expiry = from_iso(s.expiry) if s.expiry else None
    is_perpetual = is_contract and expiry is None
    return Instrument(
        raw_symbol=name,
        kind="perpetual" if is_perpetual else "future" if is_contract else "spot",
        base=s.base_currency or s.underlying,
        quote=s.quote_currency,
        settle=s.fee_currency if is_contract else None,
        linear=s.fee_currency == s.quote_currency if is_contract else None,
        contract_size="1" if is_contract else None,  # sizes of contracts are in the underlying
        tick_size=s.tick_size,
        lot_size=s.quantity_increment,
        expiry=expiry,
        funding_interval_s=EIGHT_HOURS_S if is_perpetual else None,
    )


def listing(api: str) -> Listing:
    return Listing((Request(f"{api}/public/symbol"),), rows, read_symbol)
