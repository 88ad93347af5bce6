"""Reading the frames of the Deribit protocol: notifications, answers and heartbeats.

https://docs.deribit.com/articles/notifications
"""

from collections.abc import Iterable
from typing import Generic, TypeVar

from msgspec import Raw, Struct, ValidationError
from msgspec.json import Decoder

from aggregator.errors import BadFrame
from aggregator.exchange import Accepted, Event, Hangup, Meaning, Parse, Refused, Reply
from aggregator.records import MS_NS, Channel, Status
from aggregator.wire import as_written
from connectors.families.deribit.unasked_wires import BestLevels, PerpetualData
from connectors.families.deribit.wires import STATES, BarData, BestData, BookData, PlatformData, TickerData, TradeRow

CHANNELS: dict[Channel, str] = {
    "trades": "trades",
    "liquidations": "trades",  # a mark on the trade
    "book": "book",
    "bbo": "quote",
    "candles": "chart",
    "ticker": "ticker",
    "funding": "ticker",
    "open_interest": "ticker",
    "mark_price": "ticker",
    "index_price": "ticker",
    "options": "ticker",
    "status": "ticker",  # an instrument's; the exchange's own status is a topic of its own
}
PLATFORM = "platform_state"
BEST_LEVELS = "book of best levels"  # a topic of its own kind, which begins as `book` does
HEAD = b'{"jsonrpc":"2.0","method":"subscription","params":{"channel":"'
START = len(HEAD) + 5  # so much tells the busiest topics
TEST = b'{"jsonrpc":"2.0","id":0,"method":"public/test","params":{}}'
TOO_MANY = 10028  # requests: the exchange is about to close the connection
# what passes: to be tried again, a settlement, too many pending or at once, a maintenance, the server's own errors
PASSING = {10040, 10041, 10047, 10066, 11051, 11094, 13028, 13888}
FINAL = {10020, 13020}  # there is no instrument of that name

Data = TypeVar("Data")


class Params(Struct, Generic[Data], gc=False):
    channel: str
    data: Data


class Notification(Struct, Generic[Data], gc=False):
    params: Params[Data]


class OtherParams(Struct):
    channel: str = ""
    type: str = ""


class Fault(Struct):
    code: int
    message: str = ""
    data: Raw = Raw()


class Other(Struct):
    """An answer, a heartbeat, or data that does not begin as it should."""

    id: int | str | None = None
    method: str = ""
    params: OtherParams | None = None
    result: Raw = Raw()
    error: Fault | None = None


class Platform(Struct):
    """The whole exchange, as one connection has heard of it; `told` is what was told last."""

    is_maintained: bool = False
    locked: set[str] = set()
    told: Status | None = None

    def status(self) -> Status:
        """The state of the exchange now."""
        if self.is_maintained:
            return Status(state="maintenance")
        if self.locked:
            return Status(state="unknown", reason=f"locked: {', '.join(sorted(self.locked))}")
        return Status(state="trading")


decode_trades = Decoder(Notification[list[TradeRow]], float_hook=as_written).decode
decode_book = Decoder(Notification[BookData], float_hook=as_written).decode
decode_best_levels = Decoder(Notification[BestLevels], float_hook=as_written).decode
decode_best = Decoder(Notification[BestData], float_hook=as_written).decode
decode_ticker = Decoder(Notification[TickerData], float_hook=as_written).decode
decode_bar = Decoder(Notification[BarData], float_hook=as_written).decode
decode_platform = Decoder(Notification[PlatformData], float_hook=as_written).decode
decode_perpetual = Decoder(Notification[PerpetualData], float_hook=as_written).decode
decode_other = Decoder(Other).decode
decode_names = Decoder(list[str]).decode


def parser() -> Parse:
    """The reader of one connection's frames: states are told when they change."""
    states: dict[str, str] = {}
    platform = Platform()
    readers: dict[str, Parse] = {
        "trades": read_trades,
        "book": read_book,
        BEST_LEVELS: read_best_levels,
        "quote": read_best,
        "ticker": lambda frame: read_ticker(frame, states),
        "chart": read_bar,
        "perpetual": read_perpetual,
        PLATFORM: lambda frame: read_platform(frame, platform),
    }
    busy = {(HEAD + f"{kind}.".encode())[:START]: readers[kind] for kind in ("trades", "book", "quote", "ticker")}

    def parse(frame: bytes) -> Iterable[Event]:
        read = busy.get(frame[:START])
        if read is not None:
            try:
                return read(frame)
            except ValidationError:
                pass  # a book of the best levels, or it is unreadable
        other = decode_other(frame)
        if other.method != "subscription" or other.params is None:
            return parse_other(other)
        read = readers.get(kind_of(other.params.channel))
        return () if read is None else read(frame)

    return parse


def kind_of(topic: str) -> str:
    kind, *about = topic.split(".")
    return BEST_LEVELS if kind == "book" and len(about) > 2 else kind


def parse_other(other: Other) -> Iterable[Event]:
    if other.method == "heartbeat":
        is_asked = other.params is not None and other.params.type == "test_request"
        return (Reply(TEST),) if is_asked else ()
    if other.error is not None:
        reason = f"{other.error.code}: {other.error.message} {bytes(other.error.data).decode()}".rstrip()
        if other.error.code == TOO_MANY:
            return (Hangup(reason),)
        code = other.error.code
        meaning: Meaning = "passing" if code in PASSING else "final" if code in FINAL else "unknown"
        return (Refused(reason, id=other.id if isinstance(other.id, int) else None, meaning=meaning),)
    result = bytes(other.result)
    if result.startswith(b'["') or result == b"[]":  # the topics that are known; other lists are not asked for
        return [event for topic in decode_names(result) for event in accepted(topic)]
    if not result:
        raise BadFrame("neither a notification nor an answer")
    return ()


def accepted(topic: str) -> Iterable[Event]:
    """An acknowledgement names the topics that are accepted, and leaves out those that the exchange does not know."""
    kind, _, about = topic.partition(".")
    raw_symbol = about.removeprefix("trades.").partition(".")[0] or None
    return [Accepted(channel=channel, raw_symbol=raw_symbol) for channel, wire in CHANNELS.items() if wire == kind]


def read_trades(frame: bytes) -> Iterable[Event]:
    rows = decode_trades(frame).params.data
    if len(rows) == 1 and rows[0].liquidation is None:  # the usual case
        return (rows[0].trade(),)
    found: list[Event] = []
    for row in rows:
        found.append(row.trade())
        if row.liquidation is not None:
            found += row.liquidations()
    return found


def read_book(frame: bytes) -> Iterable[Event]:
    params = decode_book(frame).params
    if params.data.type is None and kind_of(params.channel) == BEST_LEVELS:  # both sides empty, or it were unreadable
        return read_best_levels(frame)
    return (params.data.record(),)


def read_best_levels(frame: bytes) -> Iterable[Event]:
    """The best levels, or those that are grouped into coarser ones."""
    params = decode_best_levels(frame).params
    _, _, group, depth, _ = params.channel.split(".")
    return (params.data.record(int(depth)),) if group == "none" else ()


def read_best(frame: bytes) -> Iterable[Event]:
    return (decode_best(frame).params.data.record(),)


def read_ticker(frame: bytes, states: dict[str, str]) -> Iterable[Event]:
    data = decode_ticker(frame).params.data
    at = data.timestamp * MS_NS
    found = data.records(at)
    if data.state and states.get(data.instrument_name) != data.state:
        states[data.instrument_name] = data.state
        state = STATES.get(data.state, "unknown")
        reason = None if data.state == "open" else data.state
        found.append(Status(raw_symbol=data.instrument_name, state=state, reason=reason, ts_event=at))
    return found


def read_bar(frame: bytes) -> Iterable[Event]:
    params = decode_bar(frame).params
    _, _, raw_symbol, resolution = params.channel.split(".")
    return (params.data.record(raw_symbol, resolution),)


def read_perpetual(frame: bytes) -> Iterable[Event]:
    params = decode_perpetual(frame).params
    return params.data.records(params.channel.split(".")[1])


def read_platform(frame: bytes, platform: Platform) -> Iterable[Event]:
    """A lock is of one index: of the exchange as a whole it is no more than a doubt.

    What is not locked is said again and again, 2.6 times a second (2026-09, probes by others): changes are told alone.
    """
    data = decode_platform(frame).params.data
    if data.maintenance is not None:
        platform.is_maintained = data.maintenance
    elif data.locked is not None:
        (platform.locked.add if data.locked else platform.locked.discard)(data.price_index)
    else:
        return ()
    status = platform.status()
    if platform.told == status:
        return ()
    platform.told = status
    return (Status(state=status.state, reason=status.reason),)
