"""Derive (Lyra before): perpetuals, options and spot on a chain of its own.

https://docs.derive.xyz
The third version of its protocol, of 2026; trades are asked for by instrument there. The larger ticker of the second is
read in captures alone.
"""

from collections.abc import Iterable, Sequence

from aggregator.exchange import Exchange, Older, Stream, Subscribe, Subscription
from aggregator.records import Channel, Kind
from aggregator.refusals import coded
from aggregator.wire import encode
from connectors.derive.frames import DEPTH, OPTIONS, PERPETUALS, SPOT, parse, topic
from connectors.derive.listing import LISTING


def asking(method: str, sign: int) -> Subscribe:
    def ask(wanted: Sequence[Subscription], id: int) -> Iterable[bytes]:
        yield encode(
            {"id": sign * id, "method": method, "params": {"channels": list(dict.fromkeys(map(topic, wanted)))}}
        )

    return ask


def stream(name: str, channels: dict[Channel, str], kind: Kind) -> Stream:
    return Stream(
        name=name,
        url="wss://api.derive.xyz/v3/ws",
        channels=channels,
        serves=lambda instrument: instrument.kind == kind,
        topic=topic,
        subscribe=asking("subscribe", 1),
        unsubscribe=asking("unsubscribe", -1),
        parse=parse,
        depth=DEPTH,
        patience=300,  # nothing is documented that keeps a quiet connection talking
    )


EXCHANGE = Exchange(
    id="derive",
    docs="https://docs.derive.xyz",
    checked="2026-11, ccxt 4.5.90, whose samples are of October 2026",
    trouble=coded("code", "message", within="error", busy=("-32000", "-32100")),
    listing=LISTING,
    feeds=(
        stream("main", PERPETUALS, "perpetual"),
        stream("options", OPTIONS, "option"),
        stream("spot", SPOT, "spot"),
    ),
    older=(Older(channels=("bbo", "ticker", "funding", "open_interest", "mark_price", "index_price", "options")),),
    notes=(
        "A book is whole each time; its number (`sequence`) grows by no fixed step.",
        "Funding is paid all the time: the rate is of one hour.",
        "The price of the underlying of an option is the forward that it is priced by.",
        "Trades of quotes that were asked for are told as `rfq`. Liquidations are auctions, and left out.",
        "Candles come by REST alone, for a time that stands in the request's body: they are left out.",
    ),
)
