"""KuCoin's WebSocket protocol: an address that is asked for, then topics of `/channel:instrument,instrument`.

https://www.kucoin.com/docs-new/websocket-api/base-info/introduction
The unified address (`x-push-…`) speaks another protocol, which `unified` reads; this one is what spot and futures
accounts have.
"""

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Raw, Struct, ValidationError
from msgspec.json import Decoder

from aggregator.errors import BadFrame
from aggregator.exchange import (
    Accepted,
    Event,
    Exchange,
    Heartbeat,
    Limits,
    Listing,
    Poll,
    Refused,
    Request,
    Snapshot,
    Stream,
    Subscribe,
    Subscription,
    Ticket,
    Trouble,
)
from aggregator.records import HOUR_S, Channel
from aggregator.refusals import coded, meaning_of
from aggregator.sequence import Rule, contiguous
from aggregator.wire import channels_by_word, encode, number
from connectors.families.kucoin import figure_wires, history, unified_wires, wires
from connectors.families.kucoin.figure_wires import INTERVALS
from connectors.families.kucoin.rest import decode_bullet, read_snapshot

SPOT: dict[Channel, str] = {
    "trades": "/market/match",
    "book": "/market/level2",
    "bbo": "/spotMarket/level1",
    "ticker": "/market/snapshot",
    "candles": "/market/candles",
}
FUTURES: dict[Channel, str] = {
    "trades": "/contractMarket/execution",
    "book": "/contractMarket/level2",
    "bbo": "/contractMarket/tickerV2",
    "ticker": "/contractMarket/snapshot",
    "candles": "/contractMarket/limitCandle",
    "funding": "/contract/instrument",
    "mark_price": "/contract/instrument",
    "index_price": "/contract/instrument",
}
SETTLEMENTS = "/contract/announcement"  # the settled rates of all contracts
ALL = "/market/ticker:all"
OURS = channels_by_word(SPOT, FUTURES)
READ = {*OURS, SETTLEMENTS, "/market/ticker", "/contractMarket/ticker"}
DEPTHS = ("/spotMarket/level2Depth", "/contractMarket/level2Depth")
covering = Rule("covering", contiguous.joins, contiguous.joins)  # a range may begin within the one before


class AllFrame(Struct, gc=False):
    """The best prices of every instrument, where `subject` is the instrument."""

    subject: str
    data: wires.TickerWire


class Other(Struct):
    id: str | int | None = None
    type: str = ""
    topic: str = ""
    T: str = ""  # the unified address has it in place of a topic
    code: int | str | None = None
    data: Raw = Raw()


decode = Decoder(
    wires.SpotMatchFrame
    | wires.MatchFrame
    | wires.UpdateFrame
    | wires.DepthFrame
    | wires.BestFrame
    | wires.TickerFrame
    | wires.FuturesBestFrame
    | wires.OldFuturesBestFrame
    | figure_wires.StatisticsFrame
    | figure_wires.DayFrame
    | figure_wires.BarFrame
    | figure_wires.NewBarFrame
    | figure_wires.FuturesBarFrame
    | figure_wires.MarkFrame
    | figure_wires.RateFrame
    | figure_wires.SettlementFrame
    | figure_wires.SettledFrame,
    float_hook=number,
).decode
decode_all = Decoder(AllFrame).decode
decode_other = Decoder(Other).decode


def parse(frame: bytes) -> Iterable[Event]:
    try:
        events: Iterable[Event] = decode(frame).records()
    except ValidationError:
        return parse_other(frame)
    return events


def parse_other(frame: bytes) -> Iterable[Event]:
    said = decode_other(frame)
    if said.T:
        return unified_wires.read(said.T, frame)
    if said.topic == ALL:
        best = decode_all(frame)
        return (best.data.record(best.subject),)
    wire = said.topic.partition(":")[0]
    if wire in READ or wire.startswith(DEPTHS):
        raise BadFrame(f"data of {wire} that cannot be read")
    id, _, asked = str(said.id).partition(":")
    if said.type == "ack" and asked:
        return [Accepted(channel=channel) for channel in OURS.get(asked, ())]
    if said.type == "ack":
        return (Accepted(id=int(id)),) if id.isdecimal() else ()
    if said.type == "error":
        reason = bytes(said.data).decode().strip('"')
        meaning = meaning_of(reason, final=("is not found",), passing=("max permits", "too many"))
        return (Refused(f"{reason} (code {said.code})", id=int(id) if id.isdecimal() else None, meaning=meaning),)
    return ()


def asking(channels: dict[Channel, str], type: str) -> Subscribe:
    """A topic names instruments of one channel, so several frames ask; their ids name the channel besides."""

    def ask(wanted: Sequence[Subscription], id: int) -> Iterable[bytes]:
        named: dict[str, list[str]] = {}
        for s in wanted:
            if s.channel != "candles":
                named.setdefault(channels[s.channel], []).append(s.raw_symbol)
        topics = [(wire, f"{wire}:{','.join(dict.fromkeys(names))}") for wire, names in named.items()]
        topics += [(wire, bars(wire, s)) for s in wanted if (wire := channels[s.channel]) == channels["candles"]]
        for wire, topic in topics:
            yield frame(type, f"{id}:{wire}" if type == "subscribe" else str(id), topic)
        if type == "subscribe" and any(s.channel == "funding" for s in wanted):
            yield frame(type, f"x:{SETTLEMENTS}", SETTLEMENTS)

    return ask


def bars(wire: str, s: Subscription) -> str:
    return f"{wire}:{s.raw_symbol}_{INTERVALS.get(s.interval, s.interval)}"


def frame(type: str, id: str, topic: str) -> bytes:
    return encode({"id": id, "type": type, "topic": topic, "privateChannel": False, "response": True})


def read_bullet(body: bytes) -> str:
    """The address that holds a token, which is good for a day."""
    bullet = decode_bullet(body).data
    if bullet is None or not bullet.instanceServers or not bullet.instanceServers[0].endpoint.startswith("wss://"):
        raise BadFrame(f"no address and token in the answer: {body[:200]!r}")
    return f"{bullet.instanceServers[0].endpoint}?token={bullet.token}"


says = coded("code", "msg", fine=("200000",), busy=("429000",))


def trouble(status: int, headers: Mapping[str, str], body: bytes) -> Trouble | None:
    """An error has a code, whatever the status; how long the limit lasts stands in a header, in milliseconds."""
    said, reset = says(status, headers, body), headers.get("gw-ratelimit-reset", "")
    if said is None or not said.is_busy or not reset.isdecimal():
        return said
    return Trouble(said.words, is_busy=True, wait=int(reset) / 1000)


def exchange(
    id: str,
    *,
    docs: str,
    api: str,
    channels: dict[Channel, str],
    book: str,
    depth: int,
    listing: Listing,
    polls: tuple[Poll, ...] = (),
    checked: str,
    notes: tuple[str, ...] = (),
) -> Exchange:
    """Declare an exchange that speaks KuCoin.

    api: its REST address, which also gives the address of the stream
    book: path of the whole book, up to the instrument's name; `depth` levels a side
    """

    def request(raw_symbol: str) -> Request:
        return Request(f"{api}{book}{raw_symbol}", weight=3)

    return Exchange(
        id=id,
        trouble=trouble,
        docs=docs,
        checked=checked,
        notes=notes,
        limits=Limits(weights={api: ((2000, 30),)}, connects=(30, 60), lifetime=24 * HOUR_S),
        listing=listing,
        history=history.spot(api) if channels is SPOT else history.futures(api),
        feeds=(
            Stream(
                ticket=Ticket(Request(f"{api}/api/v1/bullet-public", method="POST", weight=10), read_bullet),
                channels=channels,
                subscribe=asking(channels, "subscribe"),
                unsubscribe=asking(channels, "unsubscribe"),
                parse=parse,
                heartbeat=Heartbeat(18, b'{"id":"0","type":"ping"}'),
                snapshot=Snapshot(request=request, parse=lambda name, body: read_snapshot(name, body, depth)),
                sequence={"book": covering},
                per_connection=300,
                batch=100,
                pace=0.11,  # a hundred messages in ten seconds are allowed
                patience=60,  # a ping is answered when there is nothing else to say
            ),
            *polls,
        ),
    )
