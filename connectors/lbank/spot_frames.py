"""Frames of LBank's pairs: `{"depth":{...},"type":"depth","pair":"eth_btc","TS":"..."}`.

https://www.lbank.com/en-US/docs/index.html
Answers to questions are read too: we do not ask any, and captures may hold them.
"""

from collections.abc import Iterable, Sequence

from aggregator.errors import BadFrame
from aggregator.exchange import Event, Refused, Reply, Subscribe, Subscription
from aggregator.records import Channel
from aggregator.wire import encode, from_iso, oldest_first, past
from connectors.lbank.spot_wires import (
    BARS,
    BEIJING,
    DEALS,
    DEPTH,
    INTERVALS,
    SLOTS,
    Frame,
    decode,
    decode_slot,
)

CHANNELS: dict[Channel, str] = {"trades": "trade", "book": "depth", "ticker": "tick", "candles": "kbar"}


def answered(said: Frame) -> Iterable[Event]:
    """Read an answer to a question of candles or trades; those of the past are flagged."""
    if said.type == "kbar" and said.columns == BARS:
        slot = decode_slot(said.kbar)
        return [row.record(said.pair, INTERVALS.get(slot, slot)) for row in said.records]
    if said.type == "trade" and said.columns == DEALS:
        return past(oldest_first(row.record(said.pair) for row in said.trades))
    raise BadFrame(f"an answer of {said.type} whose columns are not known")


def parse(frame: bytes) -> Iterable[Event]:
    said = decode(frame)
    if said.action == "ping":
        return (Reply(encode({"action": "pong", "pong": said.ping})),)
    if said.status == "error":
        return (Refused(said.message),)  # it may be of any frame of a request: what it seems to mean is asked for again
    if said.columns is not None:
        return answered(said)
    row = said.row()
    if row is not None:
        return row.records(said.pair, None if said.TS is None else from_iso(said.TS + BEIJING))
    if said.type in CHANNELS.values():
        raise BadFrame(f"{said.type} that cannot be read")
    return ()


def asking(action: str) -> Subscribe:
    def ask(wanted: Sequence[Subscription], _: int) -> Iterable[bytes]:
        for s in wanted:
            word = CHANNELS[s.channel]
            more = {"depth": str(DEPTH)} if word == "depth" else {}
            if word == "kbar":
                more = {"kbar": SLOTS.get(s.interval, s.interval)}
            yield encode({"action": action, "subscribe": word, "pair": s.raw_symbol} | more)

    return ask
