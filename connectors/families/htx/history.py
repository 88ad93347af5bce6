"""The past of HTX by REST: the latest two thousand trades, and candles: of spot the latest, of contracts of any time.

https://www.htx.com/en-us/opend/newApiPages/?id=7ec5114b-7773-11ed-9966-0242ac110003
https://www.htx.com/en-us/opend/newApiPages/?id=8cb73c34-77b5-11ed-9966-0242ac110003
The newest trades come first, in groups of those that were told together; so do candles of spot, not those of contracts.
"""

from collections.abc import Callable, Iterable

from msgspec import Struct, field
from msgspec.json import Decoder

from aggregator.exchange import Page, PastPages, Request
from aggregator.records import SECOND_NS, Candle, Instrument, Trade
from aggregator.wire import Text, candle, oldest_first, optional, seconds
from connectors.families.htx.wires import PERIODS, BarTick, TradeRow, contract_volume, counted, quote_volume

MOST = 2000
MOST_BARS = 1000
INTERVALS = tuple(interval for interval in PERIODS if interval not in {"1M", "1y"})


class Dealt(TradeRow):
    tradeId: Text = field(default=None, name="trade-id")


class Together(Struct):
    data: list[Dealt]


class Deals(Struct):
    data: list[Together]


class Bars(Struct):
    data: list[BarTick]


decode_deals = Decoder(Deals, float_hook=str).decode
decode_bars = Decoder(Bars, float_hook=str).decode


def read_trades(page: Page, body: bytes) -> Iterable[Trade]:
    told = [deal.record(page.raw_symbol, 0) for group in decode_deals(body).data for deal in group.data]
    found = [trade for trade in told if isinstance(trade, Trade)]
    for trade in found:
        trade.ts_sent = None  # an answer does not say it
    return oldest_first(found)


def read_candles(page: Page, body: bytes) -> Iterable[Candle]:
    for bar in sorted(decode_bars(body).data, key=lambda bar: bar.id):
        made = candle(
            page.raw_symbol,
            page.interval,
            seconds(bar.id),
            (bar.open, bar.high, bar.low, bar.close),
            base=optional(bar.amount),
            quote=quote_volume(page.raw_symbol, bar),
            trades=counted(bar.count),
        )
        made.contract_volume = contract_volume(page.raw_symbol, bar)
        yield made


def trades(url: str, serves: Callable[[Instrument], bool]) -> PastPages:
    return PastPages(
        channel="trades",
        walk="latest",
        request=lambda page: Request(f"{url}={page.raw_symbol}&size={MOST}"),
        parse=read_trades,
        most=MOST,
        serves=serves,
    )


def candles(url: str, serves: Callable[[Instrument], bool], *, is_spot: bool = False) -> PastPages:
    def request(page: Page) -> Request:
        query = f"{url}={page.raw_symbol}&period={PERIODS[page.interval]}"
        between = f"from={page.start // SECOND_NS}&to={(page.end - 1) // SECOND_NS}"
        return Request(f"{query}&size={MOST}" if is_spot else f"{query}&{between}")

    return PastPages(
        channel="candles",
        walk="latest" if is_spot else "forward",
        request=request,
        parse=read_candles,
        most=MOST if is_spot else MOST_BARS,
        serves=serves,
        intervals=INTERVALS,
    )


def history(spot: str, contracts: str, served: Iterable[Callable[[Instrument], bool]]) -> tuple[PastPages, ...]:
    """The ways of spot, of linear and of inverse contracts."""
    is_spot, is_linear, is_inverse = served
    linear, inverse = (f"https://{contracts}/{path}/market/history" for path in ("linear-swap-ex", "swap-ex"))
    return (
        trades(f"https://{spot}/market/history/trade?symbol", is_spot),
        trades(f"{linear}/trade?contract_code", is_linear),
        trades(f"{inverse}/trade?contract_code", is_inverse),
        candles(f"https://{spot}/market/history/kline?symbol", is_spot, is_spot=True),
        candles(f"{linear}/kline?contract_code", is_linear),
        candles(f"{inverse}/kline?contract_code", is_inverse),
    )
