"""BitMEX, until it closed in September 2026: perpetual contracts, dated futures, and a few spot markets.

https://www.bitmex.com/app/wsAPI
A level of the book is named by a number: its price is said where it comes, and later only in newer frames. Sizes are
contracts; of each trade the amounts in the base and in the quote asset are told besides (`homeNotional`,
`foreignNotional`). A quanto contract is of no fixed amount of either. A settlement is a trade without a side.
Among trades are the prices of indices, rows of nothing (`trdType` is `Referential`): they are passed over.
Funding (`funding`) is told when it is exchanged, and as it stands with each instrument (`instrument`); its interval is
the time of day of a moment of 2000-01-01.
"""

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.exchange import Archive, Exchange, Listing, Stream
from aggregator.records import Instrument, Kind
from aggregator.wire import Text, from_iso, number, optional, step
from connectors.archive.bitmex.figures_wires import STATES
from connectors.archive.bitmex.frames import parser

KINDS: dict[str, Kind] = {"FFWCSX": "perpetual", "FFCCSX": "future", "IFXXXP": "spot"}
ASSETS = {"XBt": "XBT", "USDt": "USDT"}  # in their smallest parts, as settlements are told


class Market(Struct):
    symbol: str
    state: str
    typ: str
    underlying: str
    quoteCurrency: str
    tickSize: Text = None
    lotSize: Text = None
    maxOrderQty: Text = None
    settlCurrency: str | None = None
    multiplier: int | None = None
    underlyingToPositionMultiplier: int | None = None
    underlyingToSettleMultiplier: int | None = None
    isQuanto: bool = False
    isInverse: bool = False
    expiry: str | None = None
    listing: str | None = None

    def instrument(self) -> Instrument | None:
        kind, settle = KINDS.get(self.typ), ASSETS.get(self.settlCurrency or "", self.settlCurrency)
        if kind is None:
            return None
        return Instrument(
            raw_symbol=self.symbol,
            kind=kind,
            base=self.underlying,
            quote=self.quoteCurrency,
            settle=None if kind == "spot" else settle,
            linear=None if kind == "spot" else not self.isInverse and not self.isQuanto,
            contract_size=self.contract_size(),
            tick_size=optional(self.tickSize),
            lot_size=optional(self.lotSize),
            max_size=optional(self.maxOrderQty),
            expiry=from_iso(self.expiry) if kind == "future" and self.expiry else None,
            state=STATES.get(self.state, "unknown"),
            ts_listed=None if self.listing is None else from_iso(self.listing),
        )

    def contract_size(self) -> str | None:
        """A contract in the base asset, or of an inverse one in the quote asset; a quanto has neither."""
        if self.isInverse and self.multiplier and self.underlyingToSettleMultiplier:
            dollars, rest = divmod(self.multiplier, self.underlyingToSettleMultiplier)
            return None if rest else str(dollars)
        parts = str(self.underlyingToPositionMultiplier or "")
        is_power = parts.rstrip("0") == "1"
        return None if self.isQuanto or self.isInverse or not is_power else step(len(parts) - 1)


decode_rows = Decoder(list[Raw]).decode
decode_market = Decoder(Market, float_hook=number).decode


def read(row: Raw) -> Instrument | None:
    return decode_market(row).instrument()


EXCHANGE = Exchange(
    id="bitmex",
    docs="https://www.bitmex.com/app/wsAPI",
    checked="2026-11, a recording of July 2021 by others",
    archives=(
        Archive(
            until="2026-09-24",
            listing=Listing(rows=decode_rows, read=read),
            streams=(
                Stream(
                    channels={
                        "trades": "trade",
                        "book": "orderBookL2",
                        "bbo": "quote",
                        "liquidations": "liquidation",
                        "candles": "tradeBin",
                        "funding": "funding",
                        "ticker": "instrument",
                        "mark_price": "instrument",
                        "index_price": "instrument",
                        "open_interest": "instrument",
                        "status": "instrument",
                    },
                    parser=parser,
                ),
            ),
        ),
    ),
)
