"""Coinone, spot in won: whole books of sixteen levels a side.

https://docs.coinone.co.kr/reference/public-websocket-1
A market has two fields of names and no name of its own: here they are joined as in the addresses of its REST, the
quote first. The answer to a pair that there is not is a confirmation, and within ten milliseconds an error that names
nothing (2026-09, live probes by others): topics are asked for one by one, so that the error is about the newest.
"""

from aggregator.exchange import Backfill, Exchange, Heartbeat, Limits, Listing, Request, Stream
from aggregator.refusals import coded
from aggregator.sequence import ordered
from aggregator.wire import at
from connectors.coinone.frames import CHANNELS, PING, ask, parser, topic
from connectors.coinone.rest import API, missed, read_market, read_missed
from connectors.coinone.wires import DEPTH

EXCHANGE = Exchange(
    id="coinone",
    docs="https://docs.coinone.co.kr/reference/public-websocket-1",
    checked="2026-09, live probes by others; 2026-11, its documentation",
    trouble=coded("error_code", "error_msg", fine=("0",), busy=("4",)),
    notes=(
        f"The book comes whole each time, {DEPTH} levels a side; its time is the one that its number holds.",
        "Open, high and low of the ticker are those of the UTC day, not of 24 hours, and are left out.",
        "Best prices come with the ticker alone, which follows trades, and may be old: the book has them.",
        "A seller who was the maker means that the taker bought; ccxt 4.5.90 reads it the other way round.",
        "Candles have no volumes: those of the frame are of 24 hours, as the documentation says.",
        "Its example of a candle has the numbers of its example of a ticker; nobody has probed one (November 2026).",
    ),
    limits=Limits(weights={API: ((1200, 60),)}, connections=20),
    listing=Listing((Request(f"{API}/public/v2/markets/KRW"),), at("markets"), read_market, state=("trade_status",)),
    feeds=(
        Stream(
            url="wss://stream.coinone.co.kr",
            channels=CHANNELS,
            topic=topic,
            subscribe=ask("SUBSCRIBE"),
            unsubscribe=ask("UNSUBSCRIBE"),
            parser=parser,
            tells_past=("trades",),
            heartbeat=Heartbeat(5, PING),  # its answer settles what was confirmed last, before that is overdue
            sequence={"trades": ordered},
            backfill=Backfill(missed, read_missed),
            depth=DEPTH,
            per_connection=360,
            batch=1,
        ),
    ),
)
