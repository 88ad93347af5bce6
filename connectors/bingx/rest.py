"""BingX's contracts by REST: index prices, funding, and open interest.

https://bingx-api.github.io/docs-v3/
"""

from collections.abc import Iterable

from msgspec import Struct
from msgspec.json import Decoder

from aggregator.exchange import Poll, Request
from aggregator.records import HOUR_S, Funding, IndexPrice, OpenInterest, Record
from aggregator.wire import ms, nonzero, text
from connectors.bingx.listing import REST, is_inverse, is_linear


class PremiumRow(Struct):
    symbol: str
    indexPrice: str | None
    lastFundingRate: str | None  # the window runs up to now, whatever its name says
    nextFundingTime: int
    fundingIntervalHours: int | None = None


class Premiums(Struct):
    data: list[PremiumRow]


class Interest(Struct):
    openInterest: str | None
    symbol: str
    time: int


class Interests(Struct):
    data: Interest


decode_premiums = Decoder(Premiums).decode
decode_interest = Decoder(Interests).decode


def read_premiums(_: str, body: bytes) -> Iterable[Record]:
    for row in decode_premiums(body).data:
        if index := nonzero(row.indexPrice):
            yield IndexPrice(raw_symbol=row.symbol, price=index)
        if row.lastFundingRate:
            yield Funding(
                raw_symbol=row.symbol,
                rate=text(row.lastFundingRate),
                interval_s=row.fundingIntervalHours * HOUR_S if row.fundingIntervalHours else None,
                ts_next=ms(row.nextFundingTime) if row.nextFundingTime else None,
            )


def read_interest(_: str, body: bytes) -> Iterable[Record]:
    """It is what the contracts are worth in the quote asset: figures of millions where a coin is worth cents."""
    i = decode_interest(body).data
    if i.openInterest:
        yield OpenInterest(raw_symbol=i.symbol, size=text(i.openInterest), size_unit="quote", ts_event=ms(i.time))


PREMIUM = Poll(
    name="premium",
    channels=("index_price", "funding"),
    every=15,
    request=lambda _: Request(f"{REST}/swap/v2/quote/premiumIndex"),
    parse=read_premiums,
    serves=is_linear,
    many=True,
)
INVERSE_PREMIUM = Poll(
    name="inverse_premium",
    channels=("index_price", "funding"),
    every=15,
    request=lambda _: Request(f"{REST}/cswap/v1/market/premiumIndex", fresh="timestamp"),
    parse=read_premiums,
    serves=is_inverse,
    many=True,
)
OPEN_INTEREST = Poll(
    name="open_interest",
    channels=("open_interest",),
    every=60,
    request=lambda raw_symbol: Request(f"{REST}/swap/v2/quote/openInterest?symbol={raw_symbol}"),
    parse=read_interest,
    serves=is_linear,
)
