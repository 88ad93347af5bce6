"""Mudrex's list of markets, which it gives to who shows the secret of an account.

https://docs.trade.mudrex.com/docs/get-asset-listing
"""

from collections.abc import Iterable, Mapping
from urllib.parse import parse_qs, urlsplit

from msgspec import Raw, Struct, ValidationError, field, structs
from msgspec.json import Decoder

from aggregator.errors import BadFrame
from aggregator.exchange import Credentials, Listing, Request, Trouble
from aggregator.records import Instrument
from aggregator.refusals import fields_of
from aggregator.wire import Text, as_written, at, optional

API = "https://trade.mudrex.com/fapi/v1"
PAGE = 100
QUOTE = "USDT"


class Said(Struct):
    code: int
    text: str = ""


class AssetWire(Struct):
    symbol: str
    price_step: Text = None
    quantity_step: Text = None
    least: Text = field(name="min_contract", default=None)
    most: Text = field(name="max_contract", default=None)
    min_notional_value: Text = None


decode_errors = Decoder(list[Said]).decode
decode_asset = Decoder(AssetWire, float_hook=as_written).decode


def with_key(keys: Credentials, _: int, request: Request) -> Request:
    return structs.replace(request, headers={"X-Authentication": keys["secret"]})


def assets(offset: int) -> Request:
    return Request(f"{API}/futures?offset={offset}&limit={PAGE}", sign=with_key)


def trouble(_: int, __: Mapping[str, str], body: bytes) -> Trouble | None:
    """Errors are a list, of which the first is told; a limit has its HTTP status."""
    try:
        errors = decode_errors(fields_of(body).get("errors", b"[]"))
    except ValidationError:
        return None
    return Trouble(f"{errors[0].code}: {errors[0].text}") if errors else None


rows = at("data")


def more(request: Request, body: bytes) -> Iterable[Request]:
    offset = int(parse_qs(urlsplit(request.url).query)["offset"][0])
    return (assets(offset + PAGE),) if len(rows(body)) == PAGE else ()


def read_asset(row: Raw) -> Instrument:
    a = decode_asset(row)
    base = a.symbol.removesuffix(QUOTE)
    if base == a.symbol:
        raise BadFrame(f"{a.symbol} is not quoted in {QUOTE}")
    return Instrument(
        raw_symbol=a.symbol,
        kind="perpetual",
        base=base,
        quote=QUOTE,
        settle=QUOTE,
        linear=True,
        contract_size="1",  # quantities are of the base asset
        tick_size=optional(a.price_step),
        lot_size=optional(a.quantity_step),
        min_size=optional(a.least),
        max_size=optional(a.most),
        min_notional=optional(a.min_notional_value),
    )


LISTING = Listing((assets(0),), rows, read_asset, more)
