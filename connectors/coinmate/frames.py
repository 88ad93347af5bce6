"""Reading Coinmate's frames, and asking for topics."""

from collections.abc import Iterable, Sequence

from aggregator.errors import BadFrame
from aggregator.exchange import Accepted, Event, Parse, Refused, Reply, Subscribe, Subscription
from aggregator.records import Channel
from aggregator.wire import encode, unseen
from connectors.coinmate.wires import Frame, TradeRow, decode, decode_book, decode_statistics, decode_trades

CHANNELS: dict[Channel, str] = {"trades": "trades", "book": "order_book", "ticker": "statistics"}
PATHS: dict[Channel, str] = {"trades": "trades", "book": "order-book", "ticker": "trade-stats"}  # version 1 has these
PING, PONG = encode({"event": "ping"}), encode({"event": "pong"})


def read_trades(pair: str | None, rows: list[TradeRow], before: list[TradeRow] | None) -> Iterable[Event]:
    return unseen(rows, before, lambda row: row.record(pair))


def parser() -> Parse:
    before: dict[str, list[TradeRow]] = {}

    def data(said: Frame) -> Iterable[Event]:
        word, _, pair = said.channel.partition("-")
        if word == CHANNELS["book"]:
            return (decode_book(said.payload).record(pair),)
        if word == CHANNELS["trades"]:
            rows = decode_trades(said.payload)
            last, before[pair] = before.get(pair), rows
            return read_trades(pair, rows, last)
        if word == CHANNELS["ticker"]:
            return (decode_statistics(said.payload).record(pair),)
        if not word:
            raise BadFrame("data that names no channel")
        return ()

    def parse(frame: bytes) -> Iterable[Event]:
        said = decode(frame)
        if said.event == "data":
            return data(said)
        if said.event == "ping":
            return (Reply(PONG),)
        if said.event == "subscribe_success":
            return (Accepted(topic=said.channel),)
        return (Refused(said.message),) if said.event == "error" else ()

    return parse


def parser_of_one() -> Parse:
    """Read version 1, where a connection has one channel of one market, which its address alone names."""
    before: list[TradeRow] | None = None

    def parse(frame: bytes) -> Iterable[Event]:
        nonlocal before
        said = decode(frame)
        if said.event == "ping":
            return (Reply(PONG),)
        if said.event != "data":
            return ()
        if said.channel:
            raise BadFrame("data that names a channel, as in version 2")
        if not bytes(said.payload).startswith(b"{"):
            rows = decode_trades(said.payload)
            last, before = before, rows
            return read_trades(None, rows, last)
        if b'"bids"' in bytes(said.payload):
            return (decode_book(said.payload).record(None),)
        return (decode_statistics(said.payload).record(None),)

    return parse


def topic(s: Subscription) -> str:
    return f"{CHANNELS[s.channel]}-{s.raw_symbol}"


def ask(event: str) -> Subscribe:
    def frames(wanted: Sequence[Subscription], _: int) -> Iterable[bytes]:
        for s in wanted:
            yield encode({"event": event, "data": {"channel": topic(s)}})

    return frames
