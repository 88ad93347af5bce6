"""The past of Gate by REST: trades of spot and of contracts by seconds, and candles.

https://www.gate.com/docs/developers/apiv4/en/#query-market-transaction-records
https://www.gate.com/docs/developers/apiv4/en/#market-k-line-chart
The newest trade comes first. Those of spot are told to be of the last thirty days; how far back those of contracts go
is not documented, and that the newest of a range come where it holds more than an answer is unconfirmed. Pages by
`last_id` are deprecated. Of candles the newest ten thousand are there, and both ends of a range are within it.
"""

from collections.abc import Callable, Iterable

from msgspec import Struct
from msgspec.json import Decoder

from aggregator.exchange import Page, PastPages, Request
from aggregator.records import DAY_S, SECOND_NS, Candle, Instrument, Trade
from aggregator.wire import Text, candle, number, optional, seconds
from connectors.families.gate.contract_wires import TradeWire
from connectors.families.gate.listing import asking, read_past

MOST = 1000
DEEPEST = 10_000
INTERVALS = ("1m", "5m", "15m", "30m", "1h", "4h", "8h", "1d")


class Bar(Struct):
    t: int
    o: Text
    h: Text
    l: Text  # noqa: E741 - the wire's name
    c: Text
    v: Text  # contracts
    sum: Text = None  # in the quote asset


decode_spot_bars = Decoder(list[tuple[str, str, str, str, str, str, str, str]]).decode
decode_bars = Decoder(list[Bar], float_hook=number).decode
decode_deals = Decoder(list[TradeWire], float_hook=number).decode


def between(page: Page) -> str:
    end = page.end if page.edge is None else (page.edge.ts_event or page.end) // SECOND_NS * SECOND_NS + SECOND_NS
    return f"from={page.start // SECOND_NS}&to={-(-end // SECOND_NS)}"


def timed(deal: TradeWire) -> TradeWire:
    """By REST `create_time_ms` of a contract's trade is seconds, with their milliseconds behind the point."""
    deal.create_time, deal.create_time_ms = deal.create_time_ms or deal.create_time, None
    return deal


def trades(api: str, path: str, word: str, serves: Callable[[Instrument], bool]) -> PastPages:
    def request(page: Page) -> Request:
        return asking(f"{api}/{path}/trades?{word}={page.raw_symbol}&limit={MOST}&{between(page)}")

    def parse(page: Page, body: bytes) -> Iterable[Trade]:
        if path == "spot":
            return sorted(read_past(page.raw_symbol, body), key=lambda trade: trade.ts_event or 0)
        told = [event for deal in decode_deals(body) for event in timed(deal).records(None)]
        return sorted((r for r in told if isinstance(r, Trade)), key=lambda trade: (trade.ts_event or 0, trade.id))

    return PastPages(
        channel="trades",
        walk="backward",
        request=request,
        parse=parse,
        most=MOST,
        serves=serves,
        reach_s=30 * DAY_S if path == "spot" else None,
        unit_ns=SECOND_NS,
    )


def candles(api: str, path: str, word: str, serves: Callable[[Instrument], bool]) -> PastPages:
    def request(page: Page) -> Request:
        query = f"{word}={page.raw_symbol}&interval={page.interval}&from={page.start // SECOND_NS}"
        return asking(f"{api}/{path}/candlesticks?{query}&to={(page.end - 1) // SECOND_NS}")

    def parse(page: Page, body: bytes) -> Iterable[Candle]:
        if path == "spot":
            for start, quote, last, high, low, first, base, _ in decode_spot_bars(body):
                prices = (first, high, low, last)
                yield candle(page.raw_symbol, page.interval, seconds(start), prices, base=base, quote=quote)
            return
        for bar in decode_bars(body):
            prices = (bar.o, bar.h, bar.l, bar.c)
            made = candle(page.raw_symbol, page.interval, seconds(bar.t), prices, quote=bar.sum)
            made.contract_volume = optional(bar.v)
            yield made

    return PastPages(
        channel="candles",
        request=request,
        parse=parse,
        most=MOST,
        serves=serves,
        deepest=DEEPEST,
        intervals=INTERVALS,
    )


def history(api: str, served: dict[str, Callable[[Instrument], bool]]) -> tuple[PastPages, ...]:
    """The ways of each market, by its path."""
    ways = [(api, path, "currency_pair" if path == "spot" else "contract", serves) for path, serves in served.items()]
    return (*(trades(*way) for way in ways), *(candles(*way) for way in ways))
