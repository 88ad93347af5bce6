"""The protocol of HTX, formerly Huobi: gzipped frames `{"ch": "market.<symbol>.<kind>", "tick": ...}`.

https://www.htx.com/en-us/opend/newApiPages/
On the sockets of notices topics are `public.<symbol>.<kind>`, and frames have an `op`. Spot symbols are lower case,
contract codes upper case.
"""

from collections.abc import Callable, Iterable, Sequence

from aggregator.exchange import Snapshot, Stream, Subscribe, Subscription
from aggregator.records import Channel, Instrument
from aggregator.sequence import Rule
from aggregator.wire import encode, gunzip
from connectors.families.htx.frames import parse
from connectors.families.htx.wires import DEPTH, NOTICES, PERIODS, SPOT_BOOK


def market(verb: str, channels: dict[Channel, str]) -> Subscribe:
    """Frames that subscribe to market data or leave it: one topic each."""

    def ask(wanted: Sequence[Subscription], id: int) -> Iterable[bytes]:
        for s in wanted:
            period = f".{PERIODS.get(s.interval, s.interval)}" if s.channel == "candles" else ""
            topic = {verb: f"market.{s.raw_symbol}.{channels[s.channel]}{period}", "id": str(id)}
            yield encode(topic | {"data_type": "incremental"} if topic[verb].endswith(".high_freq") else topic)

    return ask


def notices(verb: str) -> Subscribe:
    """Frames that subscribe to notices or leave them."""

    def ask(wanted: Sequence[Subscription], id: int) -> Iterable[bytes]:
        for s in wanted:
            yield encode({"op": verb, "cid": str(id), "topic": f"public.{s.raw_symbol}.{NOTICES[s.channel]}"})

    return ask


def ask_book(raw_symbol: str, id: int) -> bytes:
    return encode({"req": f"market.{raw_symbol}.{SPOT_BOOK['book']}", "id": str(id)})


def stream(
    name: str,
    hosts: Sequence[str],
    path: str,
    channels: dict[Channel, str],
    serves: Callable[[Instrument], bool],
    book: Rule | None = None,
) -> Stream:
    """One address; the first host is dialled, the others are its mirrors."""
    has_op = channels is NOTICES
    return Stream(
        name=name,
        url=f"wss://{hosts[0]}/{path}",
        mirrors=tuple(f"wss://{host}/{path}" for host in hosts[1:]),
        channels=channels,
        serves=serves,
        subscribe=notices("sub") if has_op else market("sub", channels),
        unsubscribe=notices("unsub") if has_op else market("unsub", channels),
        parse=parse,
        tells_past=("trades",) if "trades" in channels else (),
        inflate=gunzip,
        snapshot=Snapshot(ask=ask_book) if SPOT_BOOK.items() <= channels.items() else None,
        sequence={} if book is None else {"book": book},
        depth=None if book is None else DEPTH,
        periodic_joins=book is None,  # spot told changes between its whole books in 2019
        batch=1,  # each topic has a frame, an answer and so an id of its own
        patience=30,  # the exchange pings every five seconds
    )
