"""BitMart, until July 2026: spot, and perpetual contracts.

https://developer-pro.bitmart.com/en/spot/ and /en/futuresv2/
Spot names a table, contracts name a group, and sizes of contracts count these. No recording was found: this follows the
frames that its documentation quotes. They tell which side of a contract's trade was the maker only since `m` is there.
A contract quoted in USD settles in its coin, which no field says: `BTCUSD`, whose size is 100, counts 100 dollars.
A book that came one side at a time (`futures/depth5`) is told once both sides are known. Best prices, funding and the
rest of the books follow a client of July 2026 (https://github.com/JKorf/BitMart.Net).
"""

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.errors import BadFrame
from aggregator.exchange import Archive, Exchange, Listing, Stream
from aggregator.records import Instrument
from aggregator.sequence import ordered
from aggregator.wire import at, ms, seconds, step
from connectors.archive.bitmart.frames import CHANNELS, parser


class Market(Struct):
    symbol: str
    base_currency: str
    quote_currency: str
    price_max_precision: int | None = None  # spot has it, and the two that follow
    base_min_size: str | None = None
    min_buy_amount: str | None = None
    product_type: int | None = None  # contracts have it, and what follows
    contract_size: str | None = None
    price_precision: str | None = None
    vol_precision: str | None = None
    min_volume: str | None = None
    max_volume: str | None = None
    open_timestamp: int = 0

    def instrument(self) -> Instrument:
        if self.product_type is None:
            return Instrument(
                raw_symbol=self.symbol,
                base=self.base_currency,
                quote=self.quote_currency,
                tick_size=step(self.price_max_precision),
                min_size=self.base_min_size,
                min_notional=self.min_buy_amount,
            )
        if self.product_type != PERPETUAL:
            raise BadFrame(f"{self.symbol} is of an unknown type: {self.product_type}")
        is_inverse = self.quote_currency == "USD"
        return Instrument(
            raw_symbol=self.symbol,
            kind="perpetual",
            base=self.base_currency,
            quote=self.quote_currency,
            settle=self.base_currency if is_inverse else self.quote_currency,
            linear=not is_inverse,
            contract_size=self.contract_size,
            tick_size=self.price_precision,
            lot_size=self.vol_precision,
            min_size=self.min_volume,
            max_size=self.max_volume,
            ts_listed=seconds(self.open_timestamp) if self.open_timestamp < MILLISECONDS else ms(self.open_timestamp),
        )


PERPETUAL = 1
MILLISECONDS = 10**11  # times from here on are of milliseconds: the documentation shows both
decode_market = Decoder(Market).decode


def read(row: Raw) -> Instrument:
    return decode_market(row).instrument()


EXCHANGE = Exchange(
    id="bitmart",
    docs="https://developer-pro.bitmart.com",
    checked="2026-11, frames that its documentation quotes",
    archives=(
        Archive(
            until="2026-07-27",
            listing=Listing(rows=at("data", "symbols"), read=read),
            streams=(
                Stream(
                    channels=CHANNELS,
                    parser=parser,
                    sequence={"book": ordered},
                ),
            ),
        ),
    ),
)
