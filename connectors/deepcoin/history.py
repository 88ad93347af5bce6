"""The past of Deepcoin by REST: candles, asked for from the newest on.

https://www.deepcoin.com/docs/DeepCoinMarket/getKlineData
"""

from collections.abc import Callable, Iterable

from msgspec import Struct
from msgspec.json import Decoder

from aggregator.exchange import Page, PastPages, Request
from aggregator.records import MS_NS, Candle, Kind
from aggregator.wire import candle, ms
from connectors.deepcoin.listing import API
from connectors.deepcoin.wires import is_inverse

MOST = 300
BARS = {"1m": "1m", "5m": "5m", "15m": "15m", "30m": "30m", "1h": "1H", "4h": "4H", "12h": "12H", "1d": "1D"}


class Bar(Struct, array_like=True):
    start: str
    open: str
    high: str
    low: str
    close: str
    volume: str  # contracts, or the base asset of a pair
    turnover: str


class Answer(Struct):
    data: list[Bar]


decode = Decoder(Answer).decode


def request(page: Page) -> Request:
    query = f"instId={page.raw_symbol}&bar={BARS[page.interval]}&after={page.end // MS_NS}&limit={MOST}"
    return Request(f"{API}/deepcoin/market/candles?{query}")


def bars(page: Page, body: bytes) -> Iterable[tuple[Bar, Candle]]:
    for bar in reversed(decode(body).data):
        prices = bar.open, bar.high, bar.low, bar.close
        yield bar, candle(page.raw_symbol, page.interval, ms(int(bar.start)), prices)


def read_pair(page: Page, body: bytes) -> Iterable[Candle]:
    for bar, made in bars(page, body):
        made.base_volume, made.quote_volume = bar.volume, bar.turnover
        yield made


def read_contract(page: Page, body: bytes) -> Iterable[Candle]:
    """The turnover of an inverse contract is in an asset that is not said."""
    for bar, made in bars(page, body):
        made.contract_volume = bar.volume
        made.quote_volume = None if is_inverse(page.raw_symbol) else bar.turnover
        yield made


def history(parse: Callable[[Page, bytes], Iterable[Candle]], kind: Kind) -> PastPages:
    return PastPages(
        channel="candles",
        walk="backward",
        request=request,
        parse=parse,
        most=MOST,
        serves=lambda instrument: instrument.kind == kind,
        intervals=tuple(BARS),
    )


HISTORY = (history(read_pair, "spot"), history(read_contract, "perpetual"))
