"""Mercado Bitcoin, spot.

https://ws.mercadobitcoin.net/docs/v0/
https://api.mercadobitcoin.net/api/v4/docs
A stream's name of a market is quote and base without a dash (`BRLBTC`), and REST's is `BTC-BRL`. Its table of names has
`trades`, which is refused; its examples have `trade`, which is served (live probes by others, September 2026).
"""

from aggregator.exchange import Exchange, Heartbeat, Limits, Listing, Poll, Request, Snapshot, Stream
from aggregator.refusals import coded
from aggregator.wire import encode
from connectors.mercado.frames import CHANNELS, LEVELS, ask, parse, topic
from connectors.mercado.rest import API, ask_candles, ask_whole, read_candles, read_symbol, read_whole, rows

EXCHANGE = Exchange(
    id="mercado",
    docs="https://ws.mercadobitcoin.net/docs/v0/",
    checked="2026-09, live probes by others, which saw no trade in the stream",
    trouble=coded("code", "message"),
    notes=(
        f"Each message of the book is its best {LEVELS} levels a side; a quiet market's comes by REST.",
        "Tokens of receivables and shares are listed and confirmed, and mostly have no book.",
        "Best prices come with the ticker, without sizes.",
        "The side of a trade is the taker's, as by REST; its documentation does not say.",
        "Candles are of one minute alone, and are asked for.",
        "The listing says of every market that it is traded, of those without an order, too.",
    ),
    limits=Limits(weights={API: ((1, 1), (500, 60))}),
    listing=Listing((Request(f"{API}/symbols"),), rows, read_symbol),
    feeds=(
        Stream(
            url="wss://ws.mercadobitcoin.net/ws",
            compression="offered",
            channels=CHANNELS,
            topic=topic,
            subscribe=ask("subscribe"),
            unsubscribe=ask("unsubscribe"),
            parse=parse,
            heartbeat=Heartbeat(15, encode({"type": "ping"})),
            snapshot=Snapshot(ask_whole, read_whole, in_band=True),
            depth=LEVELS,
            batch=1,
        ),
        Poll(name="candles", channels=("candles",), every=60, request=ask_candles, parse=read_candles),
    ),
)
