"""The messages of the stream, in which JSON is text within JSON, and the answers by REST."""

from collections.abc import Iterable

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.records import Record, Ticker, Trade
from aggregator.wire import Text, as_written, bbo, from_iso, ms, nonzero, optional, text

SATOSHI = {"BTC/INR"}  # the markets whose sizes are counted in hundred-millionths


class OfCoin(Struct):
    coin: str
    data: Raw  # a list as text, or nothing (`""`) before each that holds something


class ListWire(Struct):
    type: str  # `buyList`, `sellList`, `tradeList`
    data: Raw


class LevelRow(Struct, gc=False):
    rate: Text
    btc: Text  # the size, of whatever coin

    def level(self, symbol: str) -> tuple[str, str]:
        return text(self.rate), size_of(symbol, self.btc)


class TradeRow(Struct, frozen=True, gc=False):
    """Without an id and a side."""

    rate: Text
    btc: Text
    time: str  # UTC, with or without its zone

    def record(self, symbol: str) -> Trade:
        return Trade(
            raw_symbol=symbol,
            price=text(self.rate),
            size=size_of(symbol, self.btc),
            ts_event=from_iso(self.time),
        )


class TickerWire(Struct):
    timestamp: int
    last: Text = None
    open: Text = None
    high: Text = None
    low: Text = None
    bid: Text = None
    ask: Text = None
    baseVolume: Text = None

    def records(self, symbol: str) -> Iterable[Record]:
        statistics = Ticker(
            raw_symbol=symbol,
            last=nonzero(self.last),
            open=nonzero(self.open),
            high=nonzero(self.high),
            low=nonzero(self.low),
            base_volume=optional(self.baseVolume),
            ts_sent=ms(self.timestamp),
        )
        return statistics, bbo(symbol, self.bid, None, self.ask, None, ts_sent=ms(self.timestamp))


decode_text = Decoder(str).decode
decode_of_coin = Decoder(OfCoin).decode
decode_list = Decoder(ListWire).decode
decode_levels = Decoder(list[LevelRow], float_hook=as_written).decode
decode_trades = Decoder(list[TradeRow], float_hook=as_written).decode


def inner(said: Raw) -> bytes:
    """JSON that may be written as text within JSON."""
    plain = bytes(said)
    return decode_text(plain).encode() if plain[:1] == b'"' else plain


def size_of(symbol: str, size: Text) -> str:
    return text(f"{text(size)}e-8") if symbol in SATOSHI else text(size)
