"""The past of dYdX by its indexer: trades and candles.

https://docs.dydx.xyz/indexer-client/http#get-trades
https://docs.dydx.xyz/indexer-client/http#get-candles
The newest comes first. All trades of a block have its time, and those of the time that is named are within an answer;
of candles the end of a range is not within it. So does the source of the indexer:
https://github.com/dydxprotocol/v4-chain/tree/main/indexer/services/comlink/src/controllers/api/v4
"""

from collections.abc import Iterable
from datetime import UTC, datetime

from msgspec.json import Decoder

from aggregator.exchange import Page, PastPages, Request
from aggregator.records import MS_NS, SECOND_NS, Candle, Trade
from aggregator.wire import number
from connectors.dydx.wires import RESOLUTIONS, Bars, Trades

MOST = 1000

decode_deals = Decoder(Trades, float_hook=number).decode
decode_bars = Decoder(Bars, float_hook=number).decode


def iso(ts: int) -> str:
    return f"{datetime.fromtimestamp(ts // SECOND_NS, UTC):%Y-%m-%dT%H:%M:%S}.{ts // MS_NS % 1000:03}Z"


def read_trades(page: Page, body: bytes) -> Iterable[Trade]:
    told = [record for deal in reversed(decode_deals(body).trades) for record in deal.records(page.raw_symbol)]
    return [record for record in told if isinstance(record, Trade)]


def read_candles(_: Page, body: bytes) -> Iterable[Candle]:
    return [bar.record() for bar in reversed(decode_bars(body).candles)]


def history(rest: str) -> tuple[PastPages, ...]:
    def trades(page: Page) -> Request:
        before = page.end - 1 if page.edge is None else page.edge.ts_event or page.end
        query = f"limit={MOST}&createdBeforeOrAt={iso(-(-before // MS_NS) * MS_NS)}"
        return Request(f"{rest}/trades/perpetualMarket/{page.raw_symbol}?{query}")

    def candles(page: Page) -> Request:
        query = f"resolution={RESOLUTIONS[page.interval]}&limit={MOST}"
        between = f"fromISO={iso(page.start)}&toISO={iso(-(-page.end // MS_NS) * MS_NS)}"
        return Request(f"{rest}/candles/perpetualMarkets/{page.raw_symbol}?{query}&{between}")

    return (
        PastPages(channel="trades", walk="backward", request=trades, parse=read_trades, most=MOST),
        PastPages(channel="candles", request=candles, parse=read_candles, most=MOST, intervals=tuple(RESOLUTIONS)),
    )
