"""Bybit's WebSocket protocol, version 5: topics, of which one may carry several channels.

https://bybit-exchange.github.io/docs/v5/websocket/public/orderbook
"""

from collections.abc import Callable, Iterable, Sequence

from aggregator.exchange import Heartbeat, Stream, Subscribe, Subscription
from aggregator.records import Channel, Instrument, SizeUnit
from aggregator.sequence import contiguous
from aggregator.wire import encode
from connectors.families.bybit.frames import OPTIONS, STATUS, parser
from connectors.families.bybit.wires import INTERVALS


def asking(op: str, channels: dict[Channel, str]) -> Subscribe:
    def topic(s: Subscription) -> str:
        if s.channel == "candles":
            return f"kline.{INTERVALS.get(s.interval, s.interval.removesuffix('m'))}.{s.raw_symbol}"
        if s.channel == "status":
            return STATUS["status"]
        is_by_asset = channels is OPTIONS and s.channel == "trades"
        return f"{channels[s.channel]}.{s.raw_symbol.partition('-')[0] if is_by_asset else s.raw_symbol}"

    def ask(wanted: Sequence[Subscription], id: int) -> Iterable[bytes]:
        yield encode({"op": op, "req_id": str(id), "args": list(dict.fromkeys(map(topic, wanted)))})

    return ask


def stream(
    name: str,
    url: str,
    channels: dict[Channel, str],
    serves: Callable[[Instrument], bool],
    *,
    unit: SizeUnit = "base",
    per_connection: int = 400,
    batch: int | None = None,
    depth: int = 200,
) -> Stream:
    """Declare the socket of one market.

    per_connection: the topics of a connection may be 21,000 characters long
    batch: where it is limited; else all is asked for at once, as several channels are one topic of the exchange
    """
    return Stream(
        name=name,
        url=url,
        channels=channels,
        serves=serves,
        subscribe=asking("subscribe", channels),
        unsubscribe=asking("unsubscribe", channels),
        parser=parser(unit),
        heartbeat=Heartbeat(20, b'{"op":"ping"}'),
        sequence={"book": contiguous} if "book" in channels else {},
        depth=depth,
        per_connection=per_connection,
        batch=batch or per_connection,
        patience=45,  # a ping is answered when there is nothing else to say
        acknowledges=channels is not OPTIONS,  # trades of options are acknowledged by base asset, not by option
    )
