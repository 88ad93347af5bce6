"""HashKey's polls by REST, of funding rates and index prices.

https://hashkeyglobal-apidoc.readme.io
Funding is exchanged every eight hours, as the documentation says of all contracts.
"""

from collections.abc import Iterable

from msgspec import Struct
from msgspec.json import Decoder

from aggregator.exchange import Poll, Request
from aggregator.records import Funding, IndexPrice, Record
from aggregator.wire import ms, nonzero, text

REST = "https://api-glb.hashkey.com"
SUFFIX = "-PERPETUAL"


class FundingWire(Struct):
    symbol: str
    rate: str | None
    nextSettleTime: str | None


class Indices(Struct):
    index: dict[str, str | None]


decode_fundings = Decoder(list[FundingWire]).decode
decode_indices = Decoder(Indices).decode


def read_fundings(_: str, body: bytes) -> Iterable[Record]:
    for f in decode_fundings(body):
        if f.rate:
            yield Funding(raw_symbol=f.symbol, rate=text(f.rate), ts_next=ms(f.nextSettleTime or 0) or None)


def read_indices(_: str, body: bytes) -> Iterable[Record]:
    for name, price in decode_indices(body).index.items():
        if found := nonzero(price):
            yield IndexPrice(raw_symbol=name + SUFFIX, price=found, index=name)


FUNDING = Poll(
    name="funding",
    channels=("funding",),
    every=60,
    request=lambda _: Request(f"{REST}/api/v1/futures/fundingRate", fresh="timestamp"),  # it must be given
    parse=read_fundings,
    many=True,
)
INDEX = Poll(
    name="index",
    channels=("index_price",),
    every=10,
    request=lambda _: Request(f"{REST}/quote/v1/index"),
    parse=read_indices,
    many=True,
)
