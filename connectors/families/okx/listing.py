"""The list of instruments of the OKX protocol: one request per type, options one per family.

https://www.okx.com/docs-v5/en/#public-data-rest-api-get-instruments
"""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Literal

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.exchange import Listing, Request, no_more
from aggregator.records import Instrument, Kind, MarketState
from aggregator.wire import ms, optional, text

KINDS: dict[str, Kind] = {"SPOT": "spot", "SWAP": "perpetual", "FUTURES": "future", "OPTION": "option"}
STATES: dict[str, MarketState] = {
    "live": "trading",
    "suspend": "halt",
    "rebase": "halt",
    "preopen": "pre_open",
    "settling": "settling",
    "expired": "delisted",
}
OPTION_TYPES: dict[str, Literal["call", "put"]] = {"C": "call", "P": "put"}


class InstrumentWire(Struct):
    """A row of the listing. Fields that do not apply are empty; a contract may have only a name before its opening."""

    instType: str
    instId: str
    state: str = ""
    baseCcy: str = ""  # spot only, as quoteCcy
    quoteCcy: str = ""
    uly: str = ""  # contracts only: BASE-QUOTE, as the family may also be, or BASE-QUOTE_ and a marker
    instFamily: str = ""
    settleCcy: str = ""
    ctType: str = ""  # linear or inverse; options: neither
    ctVal: str = ""  # in the base asset; for inverse contracts in the quote asset
    ctMult: str = ""
    tickSz: str = ""
    lotSz: str = ""
    minSz: str = ""
    maxLmtSz: str = ""
    expTime: str = ""
    stk: str = ""
    optType: str = ""
    listTime: str = ""
    contTdSwTime: str = ""  # when continuous trading began, where an auction came first


class Answer(Struct):
    data: list[Raw]


decode_answer = Decoder(Answer).decode
decode_families = Decoder(list[str]).decode
decode_instrument = Decoder(InstrumentWire).decode


def rows(body: bytes) -> Iterable[Raw]:
    """The instruments of an answer; one that lists the families of options holds none."""
    return [row for row in decode_answer(body).data if not is_families(row)]


def is_families(row: Raw) -> bool:
    return bytes(row)[:1] == b"["


def options_of_each(request: Request, body: bytes) -> Iterable[Request]:
    """Options are listed by family alone: one request for each family that an answer names.

    https://www.okx.com/docs-v5/en/#public-data-rest-api-get-underlying
    """
    rest, path, _ = request.url.partition("/public/underlying")
    if not path:
        return ()
    families = [family for row in decode_answer(body).data for family in decode_families(row)]
    return [Request(f"{rest}/public/instruments?instType=OPTION&instFamily={family}") for family in families]


def read_instrument(row: Raw) -> Instrument | None:
    i = decode_instrument(row)
    kind = KINDS.get(i.instType)
    if kind is None:
        return None
    base, quote = assets(i)
    begun = i.contTdSwTime or i.listTime
    return Instrument(
        raw_symbol=i.instId,
        kind=kind,
        base=base,
        quote=quote,
        settle=i.settleCcy or None,
        linear=is_linear(i, quote),
        contract_size=contract_size(i),
        tick_size=optional(i.tickSz),
        lot_size=optional(i.lotSz),
        min_size=optional(i.minSz),
        max_size=optional(i.maxLmtSz),
        expiry=ms(i.expTime) if i.expTime and kind in {"future", "option"} else None,
        strike=optional(i.stk),
        option_type=OPTION_TYPES.get(i.optType),
        state=STATES.get(i.state, "unknown"),
        index=i.uly or None,
        ts_listed=ms(begun) if begun else None,
    )


def assets(i: InstrumentWire) -> tuple[str, str]:
    if i.baseCcy and i.quoteCcy:
        return i.baseCcy, i.quoteCcy
    base, _, rest = (i.uly or i.instFamily or i.instId).partition("-")
    return base, rest.partition("-")[0].partition("_")[0]


def is_linear(i: InstrumentWire, quote: str) -> bool | None:
    """The exchange's own word; of options, which have none, whether they settle in the quote asset."""
    if i.instType == "OPTION":
        return i.settleCcy == quote
    return {"linear": True, "inverse": False}.get(i.ctType)


def contract_size(i: InstrumentWire) -> str | None:
    """The value of a contract times its multiplier, which is other than 1 for options."""
    if not i.ctVal or i.ctMult in {"", "1"}:
        return optional(i.ctVal)
    return f"{Decimal(text(i.ctVal)) * Decimal(text(i.ctMult)):f}"


def listing(rest: str, types: Sequence[str]) -> Listing:
    """Declare the requests for instruments of these types."""
    url = f"{rest}/public/instruments?instType="
    requests = [Request(url + type) for type in types if type != "OPTION"]
    if "OPTION" in types:
        requests.append(Request(f"{rest}/public/underlying?instType=OPTION"))
    more = options_of_each if "OPTION" in types else no_more
    return Listing(tuple(requests), rows, read_instrument, more)
