"""Bitbns, spot: Socket.IO, a stream for each quote that brings every coin of it.

https://bitbns.com/trade/#/api-trading/ has no stream: the form of the messages is as live probes found it in September
2026, its answers by REST are as ccxt 4.5 reads them. The stream of its perpetual contracts names no instrument, and is
not used.
"""

from collections.abc import Callable

from aggregator.exchange import Exchange, Limits, Listing, Poll, Request, Stream
from aggregator.records import Channel, Instrument
from connectors.bitbns.frames import ALL, parser_of
from connectors.bitbns.rest import decode_markets, read_market, read_tickers, trouble

API = "https://bitbns.com/order"
CHANNELS: dict[Channel, str] = {"trades": "tradeList", "book": "buyList, sellList"}
EVERY = 5000  # topics on a connection: all come by one request


def is_of(quote: str) -> Callable[[Instrument], bool]:
    return lambda instrument: instrument.quote == quote


def listen(quote: str) -> Stream:
    return Stream(
        name=quote.lower(),
        url=f"wss://ws{quote.lower()}mv2.bitbns.com/socket.io/?coin={ALL}&EIO=4&transport=websocket",
        channels=CHANNELS,
        serves=is_of(quote),
        topic=lambda _: ALL,
        subscribe=lambda _, __: (b"40",),
        parser=lambda: parser_of(quote),
        depth=15,
        per_connection=EVERY,
        batch=EVERY,
    )


EXCHANGE = Exchange(
    id="bitbns",
    docs="https://bitbns.com/trade/#/api-trading/",
    checked="2026-09, live probes by others; ccxt 4.5.90, which holds its answers",
    trouble=trouble,
    notes=(
        "A book comes as two lists, of up to 15 levels a side; it is told once both are known and do not cross.",
        "Nothing in the stream is numbered, and books have no time. Trades have neither an id nor a side.",
        "Sizes of BTC/INR are counted in hundred-millionths of a bitcoin, and are told in bitcoin.",
        "Books are thin and partly stale; its first list of trades may hold some that are years old (September 2026).",
        "Its perpetual contracts are left out: their stream names no instrument, and their list needs a key.",
        "Best prices come with the tickers, which are polled, without sizes. It has no candles.",
    ),
    limits=Limits(weights={"https://bitbns.com": ((1, 1),)}),
    listing=Listing((Request(f"{API}/fetchMarkets"),), decode_markets, read_market),
    feeds=(
        listen("INR"),
        listen("USDT"),
        Poll(
            name="ticker",
            channels=("ticker", "bbo"),
            every=60,
            request=lambda _: Request(f"{API}/fetchTickers", fresh="at"),
            parse=read_tickers,
            many=True,
        ),
    ),
)
