"""CEX.IO, its spot trading of today: books by the stream, trades and statistics by REST.

https://trade.cex.io/docs/
The address before, `ws.cex.io`, asks for a login before it tells a book (September 2026), and is not used: captures of
it are read. Trades are documented for the stream, too, but none came in three minutes of September 2026, and no pair is
named with them: they are asked for by REST, and those of the stream are read in captures.
"""

from aggregator.exchange import Exchange, Heartbeat, Limits, Listing, Older, Poll, Stream
from aggregator.refusals import coded
from aggregator.sequence import GAP, NEXT, Rule, Verdict
from aggregator.wire import at
from connectors.cex.frames import ASK, DEPTH, LEAVE, asking, parse
from connectors.cex.rest import API, post, read_pair, read_tickers, read_trades


def follows(last: int, first: int, _final: int, _prev: int | None) -> Verdict:
    """A change has the next number. Any other asks for the whole book: a lower one tells of a restart within."""
    return NEXT if first == last + 1 else GAP


STRICT = Rule("strict", follows, follows)

EXCHANGE = Exchange(
    id="cex",
    older=(Older(channels=("book", "ticker", "bbo")),),
    docs="https://trade.cex.io/docs/",
    checked="2026-09, live probes by others; ccxt 4.5.90 for its answers by REST",
    trouble=coded("error", busy=("API rate limit reached",)),
    limits=Limits(weights={API: ((100, 60),), f"{API}/get_ticker": ((2, 60),)}, requests=(90, 60)),
    notes=(
        "A book is of twenty levels a side, told at most once a second, and has no time.",
        "Best prices come with the statistics once a minute, and without sizes: the book has them sooner.",
        "The last price is that of the last trade; what the exchange calls `last` follows its quotes.",
        "Candles are had by REST alone, of one pair at a time, and are not followed.",
    ),
    listing=Listing((post("get_pairs_info", {}),), at("data"), read_pair),
    feeds=(
        Stream(
            url="wss://trade.cex.io/api/spot/ws-public",
            channels={"book": "order_book"},
            subscribe=asking(ASK),
            unsubscribe=asking(LEAVE),
            parse=parse,
            heartbeat=Heartbeat(10, b'{"e":"ping"}'),
            sequence={"book": STRICT},
            depth=DEPTH,
            batch=1,
            per_connection=90,
        ),
        Poll(
            name="trades",
            channels=("trades",),
            every=60,
            request=lambda name: post("get_trade_history", {"pair": name, "pageSize": 100}),
            parse=read_trades,
        ),
        Poll(
            name="tickers",
            channels=("ticker", "bbo"),
            every=60,
            request=lambda _: post("get_ticker", {"pairs": []}),
            parse=read_tickers,
            many=True,
        ),
    ),
)
