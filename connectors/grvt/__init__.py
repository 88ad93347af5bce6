"""GRVT: perpetuals on a chain of zkSync.

https://api-docs.grvt.io
A selector says how often: books come at most twenty times a second, figures ten times.
"""

from collections.abc import Iterable, Sequence

from aggregator.exchange import Exchange, Stream, Subscribe, Subscription
from aggregator.refusals import coded
from aggregator.sequence import contiguous, linked
from aggregator.wire import encode
from connectors.grvt.frames import CHANNELS, parser, topic
from connectors.grvt.listing import LISTING


def asking(method: str, sign: int) -> Subscribe:
    def ask(wanted: Sequence[Subscription], id: int) -> Iterable[bytes]:
        for stream, selector in dict.fromkeys(map(topic, wanted)):
            params = {"stream": stream, "selectors": [selector]}
            yield encode({"jsonrpc": "2.0", "method": method, "params": params, "id": sign * id})

    return ask


EXCHANGE = Exchange(
    id="grvt",
    docs="https://api-docs.grvt.io",
    checked="2026-05, its specification; 2026-11, its Python client 0.2.1 and ccxt 4.5.90",
    trouble=coded("code", "message", busy=("1006",)),
    listing=LISTING,
    feeds=(
        Stream(
            url="wss://market-data.grvt.io/ws/full",
            channels={channel: stream for channel, (stream, _) in CHANNELS.items()},
            topic=topic,
            subscribe=asking("subscribe", 1),
            unsubscribe=asking("unsubscribe", -1),
            parser=parser,
            sequence={"book": linked, "trades": contiguous},
            batch=1,  # a refusal names the request alone
            patience=300,  # nothing is documented that keeps a quiet connection talking
        ),
    ),
    notes=(
        "Funding rates come in per cent of the interval that their record names, and are published as fractions.",
        "A volume is that of takers who bought and of those who sold, which the exchange tells apart.",
        "Figures come as changes: a ticker and best prices are filled up with what has not changed.",
        "Trades of quotes that were asked for (`RFQ`) are told as `rfq`. Liquidations have no public channel.",
        "Captures of its compact stream (`/ws/lite`), whose fields have short names, are read as well.",
        "Futures and options are documented, and left out: none is listed. The state of a market is not told.",
    ),
)
