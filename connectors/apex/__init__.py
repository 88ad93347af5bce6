"""ApeX Omni: perpetuals on a rollup of its own, in the words of Bybit's third version.

https://api-docs.pro.apex.exchange/#websocket-v3-for-omni-websocket-endpoint
The socket's address ends with a time, which is asked of the exchange. That numbers of a book grow by one is not in the
documentation: another's client that read the socket in June 2026 holds to it.
"""

from collections.abc import Iterable, Sequence

from aggregator.exchange import Exchange, Heartbeat, Stream, Subscribe, Subscription
from aggregator.records import MS_NS
from aggregator.sequence import contiguous
from aggregator.wire import encode
from connectors.apex.frames import CHANNELS, parser, topic
from connectors.apex.listing import LISTING, MARKS, TICKET, trouble


def asking(op: str) -> Subscribe:
    def ask(wanted: Sequence[Subscription], _: int) -> Iterable[bytes]:
        for name in dict.fromkeys(map(topic, wanted)):
            yield encode({"op": op, "args": [name]})

    return ask


EXCHANGE = Exchange(
    id="apex",
    docs="https://api-docs.pro.apex.exchange",
    checked="2026-11, ccxt 4.5.90, its Python client 3.4.2, and what another's client saw in June 2026",
    trouble=trouble,
    listing=LISTING,
    feeds=(
        Stream(
            ticket=TICKET,
            channels=CHANNELS,
            topic=topic,
            subscribe=asking("subscribe"),
            unsubscribe=asking("unsubscribe"),
            parser=parser,
            heartbeat=Heartbeat(every=15, frame=lambda now: encode({"op": "ping", "args": [str(now // MS_NS)]})),
            sequence={"book": contiguous},
            depth=200,
            batch=1,  # a frame is refused as a whole
            patience=45,  # a ping is answered when there is nothing else to say
        ),
        MARKS,
    ),
    notes=(
        "Funding is exchanged each hour, at the `current` rate.",
        "The `predicted` rate is the interest alone: 0.0000125 of every market, in what others saw from 2022 to 2026.",
        "Figures come as changes: a ticker is filled up with what has not changed.",
        "The socket has an `oraclePrice` besides the index, which is not told: what it is is not documented.",
        "Mark prices come by REST alone. Best prices and liquidations have no public channel.",
        "Contracts on shares are listed; markets before their launch and predictions are left out.",
    ),
)
