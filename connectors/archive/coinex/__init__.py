"""CoinEx, versions 1 and 2 of its interface, until September 2026: spot and perpetual contracts, in one protocol.

https://docs.coinex.com/api/v2/spot/market/ws/market-deals
Amounts are of the base asset, those of inverse contracts (`BTCUSD`) US dollars. No recording was found: this follows
the frames that its documentation quotes. Whether `BTCUSDT` is spot or a contract no frame says, only the address of
the connection.
"""

from typing import Literal

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.exchange import Archive, Exchange, Listing, Stream
from aggregator.records import Instrument
from aggregator.wire import at, gunzip, step
from connectors.archive.coinex.frames import CHANNELS, parse


class Market(Struct):
    market: str
    base_ccy: str
    quote_ccy: str
    min_amount: str
    base_ccy_precision: int
    quote_ccy_precision: int
    contract_type: Literal["linear", "inverse"] | None = None
    tick_size: str | None = None

    def instrument(self) -> Instrument:
        is_linear, is_spot = self.contract_type == "linear", self.contract_type is None
        return Instrument(
            raw_symbol=self.market,
            kind="spot" if is_spot else "perpetual",
            base=self.base_ccy,
            quote=self.quote_ccy,
            settle=None if is_spot else self.quote_ccy if is_linear else self.base_ccy,
            linear=None if is_spot else is_linear,
            contract_size=None if is_spot else "1",
            tick_size=self.tick_size or step(self.quote_ccy_precision),
            lot_size=step(self.base_ccy_precision),
            min_size=self.min_amount,
        )


decode_market = Decoder(Market).decode


def read(row: Raw) -> Instrument:
    return decode_market(row).instrument()


EXCHANGE = Exchange(
    id="coinex",
    docs="https://docs.coinex.com/api/v2",
    checked="2026-11, frames that its documentation quotes",
    archives=(
        Archive(
            until="2026-09-23",
            listing=Listing(rows=at("data"), read=read),
            streams=(Stream(channels=CHANNELS, parse=parse, inflate=gunzip),),
        ),
    ),
)
