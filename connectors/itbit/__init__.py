"""itBit, the exchange of Paxos, spot: the address of a stream names its market, and nothing is sent to it.

https://docs.paxos.com/api-reference/websockets/overview
The first message of a book has all of it and says that it is final; a client of 2026 speaks of books in several
messages, of which the last says so: both are read. The documentation advises one connection for all markets, but there
the word may as well mean the last market, so each market has its own. The ticker of all markets shows prices of other
exchanges while itBit is away, by its documentation, and each market's own is asked for instead.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from msgspec import Raw
from msgspec.json import Decoder

from aggregator.errors import BadFrame
from aggregator.exchange import (
    Event,
    Exchange,
    Limits,
    Listing,
    Parse,
    Poll,
    Refused,
    Request,
    Stream,
    Subscription,
    Trouble,
)
from aggregator.records import Channel, Instrument, Record
from aggregator.refusals import coded
from aggregator.wire import at, either, optional
from connectors.itbit.wires import (
    ErrorWire,
    ExecutionWire,
    Market,
    SnapshotWire,
    TickerWire,
    UpdateWire,
    whole,
)

API = "https://api.paxos.com/v2"
THROTTLED = 300.0  # seconds: for so long an address that asked too much gets nothing, by the documentation
PARTS = 100  # messages of one book; one that never ends is not kept

decode_error = Decoder(ErrorWire).decode
decode_book = either(Decoder(SnapshotWire | UpdateWire).decode, decode_error)
decode_execution = either(Decoder(ExecutionWire).decode, decode_error)
decode_ticker = Decoder(TickerWire).decode
decode_market = Decoder(Market).decode
problem = coded("status", "detail", busy=("429",))


def trouble(status: int, headers: Mapping[str, str], body: bytes) -> Trouble | None:
    said = problem(status, headers, body)
    if said is None or not said.is_busy:
        return said
    return Trouble(said.words, is_busy=True, wait=THROTTLED)


def books() -> Parse:
    parts: list[SnapshotWire] = []

    def waiting() -> Iterable[Event]:
        found = [whole(parts)] if parts else []
        parts.clear()
        return found

    def parse(frame: bytes) -> Iterable[Event]:
        """Read a message; a book is whole, too, once something else comes than another part of it."""
        said = decode_book(frame)
        if isinstance(said, ErrorWire):
            return (Refused(said.error),)
        if isinstance(said, UpdateWire):
            return (*waiting(), said.record())
        before = waiting() if parts and parts[0].market != said.market else ()
        parts.append(said)
        if said.is_last:
            return (*before, *waiting())
        if len(parts) == PARTS:
            parts.clear()
            raise BadFrame(f"a book of {said.market} in more than {PARTS} messages")
        return before

    return parse


def read_execution(frame: bytes) -> Iterable[Event]:
    said = decode_execution(frame)
    return (Refused(said.error) if isinstance(said, ErrorWire) else said.record(),)


def listen(channel: Channel, kind: str, **reading: Any) -> Stream:
    def address(wanted: Sequence[Subscription]) -> str:
        return f"wss://ws.paxos.com/{kind}/{wanted[0].raw_symbol if wanted else ''}"

    return Stream(
        name=kind,
        url=address,
        channels={channel: kind},
        subscribe=lambda _, __: (),
        **reading,
        per_connection=1,
        one_market=True,
        patience=3600,  # a market may be that quiet, and a line that is dead shows by its pings
        acknowledges=False,
    )


def read_ticker(_: str, body: bytes) -> Iterable[Record]:
    return decode_ticker(body).records()


def read_market(row: Raw) -> Instrument:
    m = decode_market(row)
    return Instrument(raw_symbol=m.market, base=m.base_asset, quote=m.quote_asset, tick_size=optional(m.tick_rate))


EXCHANGE = Exchange(
    id="itbit",
    docs="https://docs.paxos.com/api-reference/websockets/overview",
    checked="2026-11, its documentation and its description of the API; nothing was seen live, by us or by others",
    trouble=trouble,
    notes=(
        "It is the exchange of Paxos: itBit's own API has ended, and the markets are those of `api.paxos.com`.",
        "A trade has no side, because the exchange does not say it.",
        "The book has neither numbers nor times: a change that is lost unseen cannot be noticed by anyone.",
        "Each market has two connections, for its book and its trades, and one is made in a second.",
        "Best prices come with the ticker, which is polled. It has no candles without an account.",
        "Prices of stablecoins, which it streams too, are left out: no list names them.",
    ),
    limits=Limits(weights={API: ((15_000, 300),)}, connects=(1, 1)),
    listing=Listing((Request(f"{API}/markets"),), at("markets"), read_market),
    feeds=(
        listen("book", "marketdata", parser=books),
        listen("trades", "executiondata", parse=read_execution, tells_past=("trades",)),
        Poll(
            name="ticker",
            channels=("ticker", "bbo"),
            every=15,
            request=lambda s: Request(f"{API}/markets/{s}/ticker"),
            parse=read_ticker,
        ),
    ),
)
