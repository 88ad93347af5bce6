"""WEEX: spot and perpetuals, by the third version of its protocol.

https://www.weex.com/api-doc
Its sockets stand below `/public`, which older texts leave out.
"""

from collections.abc import Callable, Iterable, Sequence

from aggregator.exchange import Exchange, Heartbeat, Limits, Stream, Subscribe, Subscription
from aggregator.records import Channel, Instrument
from aggregator.refusals import coded
from aggregator.sequence import linked
from aggregator.wire import encode
from connectors.weex.frames import PERPETUALS, SPOT, parse, topic
from connectors.weex.rest import FUNDING, LISTING, OPEN_INTEREST
from connectors.weex.wires import DEPTH


def asking(method: str) -> Subscribe:
    def ask(wanted: Sequence[Subscription], id: int) -> Iterable[bytes]:
        yield encode({"method": method, "params": list(dict.fromkeys(map(topic, wanted))), "id": id})

    return ask


def stream(name: str, url: str, channels: dict[Channel, str], serves: Callable[[Instrument], bool]) -> Stream:
    return Stream(
        name=name,
        url=url,
        headers={"User-Agent": "aggregator"},  # without one a firewall may answer 403
        channels=channels,
        serves=serves,
        topic=topic,
        subscribe=asking("SUBSCRIBE"),
        unsubscribe=asking("UNSUBSCRIBE"),
        parse=parse,
        sequence={"book": linked},
        depth=DEPTH,
        heartbeat=Heartbeat(every=20, frame=b'{"method":"PING","id":0}'),
        per_connection=100,
        batch=1,  # a refusal is of a whole request
        patience=65,  # a ping is answered when there is nothing else to say
    )


EXCHANGE = Exchange(
    id="weex",
    docs="https://www.weex.com/api-doc",
    checked="2026-09, live probes by others of its perpetuals; 2026-11, ccxt 4.5.90 and Weex.Net for spot",
    trouble=coded("code", "msg", fine=("0", "200"), busy=("429",)),
    limits=Limits(connects=(300, 300), connections=20, requests=(240, 3600)),
    listing=LISTING,
    feeds=(
        stream("spot", "wss://ws-spot.weex.com/v3/ws/public", SPOT, lambda i: i.kind == "spot"),
        stream("perpetuals", "wss://ws-contract.weex.com/v3/ws/public", PERPETUALS, lambda i: i.kind == "perpetual"),
        FUNDING,
        OPEN_INTEREST,
    ),
    notes=(
        "A book is of 200 levels a side, and changes twice a second.",
        "Sizes of perpetuals are of the base asset, so one contract is one of it.",
        "Open interest is taken to be of the base asset, as its decimals are those of sizes: it is not documented.",
        "Of funding the forecast of the next rate is `predicted`, the one before it `settled`.",
        "No list says how perpetuals stand; one that is delisted is accepted, has an empty book, and stays silent.",
    ),
)
