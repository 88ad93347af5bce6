"""Delta Exchange, the global one: spot, perpetuals, dated futures and options. Its Indian platform is another exchange.

https://docs.delta.exchange, which today is the Indian platform's; that of the global one is an archived page of January
2026, https://web.archive.org/web/20260130043054/https://docs-global.delta.exchange/, and its source of May 2026,
https://github.com/delta-exchange/slate-global. The one address speaks in short names, the other in long ones, which
were to end in July 2026 and were still spoken in September. A candle by short names does not say when it began, so
candles alone come by the long ones.
"""

from collections.abc import Iterable, Mapping, Sequence
from zlib import crc32

from aggregator.book import OrderBook
from aggregator.exchange import (
    Exchange,
    Heartbeat,
    Limits,
    Listing,
    Older,
    Poll,
    Request,
    Stream,
    Subscribe,
    Subscription,
)
from aggregator.records import Channel, Instrument
from aggregator.refusals import coded
from aggregator.sequence import contiguous
from aggregator.wire import at, encode, symbols_by
from connectors.delta import frames, legacy, rest
from connectors.delta.listing import following, read_product
from connectors.delta.wires import MARK

API = "https://api.delta.exchange/v2"
SHORT = "wss://public-socket.delta.exchange"
LONG = "wss://socket.delta.exchange"
BOOK: dict[Channel, str] = {"book": "ob_updates"}
FIGURES: dict[Channel, str] = {
    "bbo": "ob_l1",
    "ticker": "ticker",
    "open_interest": "ticker",
    "mark_price": "mark_price",
    "index_price": "spot_price",
    "funding": "funding_rate",
    "status": "system_status",
}
TRADES: dict[Channel, str] = {"trades": "trades"}
CANDLES: dict[Channel, str] = {"candles": "candlestick"}
WORDS = BOOK | FIGURES | TRADES | CANDLES
CHECKED = 10  # levels a side
PING = Heartbeat(every=15, frame=b'{"type":"ping"}')  # whoever is silent for a minute is cut off
TOPICS = 100  # the books that one connection may carry; of the other channels no limit is known


def topic(s: Subscription) -> tuple[str, str]:
    """The channel and the symbol, as acknowledgements name them."""
    word = WORDS[s.channel]
    if s.channel == "candles":
        return f"{word}_{s.interval}", s.raw_symbol
    if s.channel == "mark_price":
        return word, f"{MARK}{s.raw_symbol}"
    return word, "" if s.channel == "status" else s.raw_symbol


def asking(operation: str) -> Subscribe:
    def ask(wanted: Sequence[Subscription], _: int) -> Iterable[bytes]:
        for word in symbols_by(lambda s: topic(s)[0], wanted):
            symbols = list(dict.fromkeys(name for kind, name in map(topic, wanted) if kind == word and name))
            channel = {"name": word, "symbols": symbols} if symbols else {"name": word}
            yield encode({"type": operation, "payload": {"channels": [channel]}})

    return ask


def checksum(book: OrderBook, _: Instrument | None) -> int:
    """CRC32 of the ten best asks, then bids, as they were sent; it fitted each of 700 frames (2026-09, by others)."""
    bids, asks = book.spelled(CHECKED, level, level)
    return crc32(f"{','.join(asks)}|{','.join(bids)}".encode())


def level(price: str, size: str) -> str:
    return f"{price}:{size}"


def is_option(instrument: Instrument) -> bool:
    return instrument.kind == "option"


def stream(name: str, channels: Mapping[Channel, str]) -> Stream:
    is_long = channels is CANDLES
    return Stream(
        name=name,
        url=LONG if is_long else SHORT,
        compression="offered" if is_long else "unknown",
        channels=channels,
        named={"index_price": lambda instrument: instrument.index} if channels is FIGURES else {},
        topic=topic,
        subscribe=asking("subscribe"),
        unsubscribe=asking("unsubscribe"),
        parse=legacy.parse if is_long else frames.parse,
        heartbeat=PING,
        sequence={"book": contiguous} if channels is BOOK else {},
        checksum=checksum if channels is BOOK else None,
        per_connection=TOPICS if channels is BOOK else 10 * TOPICS,
        patience=45,  # a ping is answered when there is nothing else to say
    )


EXCHANGE = Exchange(
    id="delta",
    older=(
        Older(
            channels=(
                *("trades", "book", "candles", "bbo", "ticker", "open_interest", "mark_price", "index_price"),
                *("funding", "options", "status"),
            )
        ),
    ),
    docs="https://docs.delta.exchange",
    trouble=coded("code", within="error"),
    checked="2026-09, live probes by others; of trades and candles its documentation alone, of 2026-05",
    notes=(
        "Sizes are of contracts, and of the base asset on spot markets.",
        "Trades have no id, so that none can be asked for again.",
        "Funding is sent in per cent of an interval, and published as a fraction.",
        "A ticker tells no volume: its turnover is counted in the asset in which the contract settles.",
        "The greeks of options are asked for each ten seconds; the stream sends them without names.",
        "The state of the whole exchange is told as it changes, that of an instrument by the listing alone.",
        "It tells no liquidations in public.",
    ),
    limits=Limits(weights={API: ((10_000, 300),)}, connects=(150, 300)),
    listing=Listing(
        (Request(f"{API}/products?page_size=1000", weight=3),),
        at("result"),
        read_product,
        more=following,
        state=("state", "trading_status"),
    ),
    feeds=(
        stream("main", BOOK),
        stream("figures", FIGURES),
        stream("trades", TRADES),
        stream("candles", CANDLES),
        Poll(
            name="options",
            channels=("options",),
            every=10,
            request=lambda _: Request(f"{API}/tickers?contract_types=call_options,put_options", weight=3),
            parse=rest.read_options,
            serves=is_option,
            many=True,
        ),
    ),
)
