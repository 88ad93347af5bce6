"""The protocol of ViaBTC's open exchange server, as WhiteBIT speaks it: `x_subscribe`, then `x_update` with an array.

https://docs.whitebit.com/websocket/overview
A subscription takes the place of the one before it of the same method, so that one request names all; books are added
to one another instead. A whole book comes first, and again when nothing has changed for ten seconds. Up to a hundred
trades of the past come first, too, and again with each list that takes the place of one.
"""

import re
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
    Parse,
    Poll,
    Refused,
    Stream,
    Subscribe,
    Subscription,
)
from aggregator.records import Channel, Instrument
from aggregator.refusals import ReadTrouble
from aggregator.sequence import linked
from aggregator.wire import encode
from connectors.families.viabtc.wires import DEPTH, PERIODS, Failure, TradesFrame, decode

LISTS: dict[Channel, str] = {"trades": "trades", "bbo": "bookTicker", "ticker": "market"}
PREMIUM: dict[Channel, str] = {"funding": "premiumIndex", "mark_price": "premiumIndex", "index_price": "premiumIndex"}
BOOK: dict[Channel, str] = {"book": "depth"}
CANDLES: dict[Channel, str] = {"candles": "candles"}
WORDS = ("trades", "bookTicker", "market", "premiumIndex")  # requests for these hold a list
INTERVALS = tuple(PERIODS)
READ = {f"{word}_update" for word in (*WORDS, "depth", "candles")}
SPAN = 64  # a request's number is our id times this, and what was asked for: an answer brings nothing else back
TOO_MANY = 7  # code of a refusal, as the next ones are words of one
NO_MARKET = re.compile(r"market (\S+) does not exist")
BARS = 16  # candles of the first of `INTERVALS`; below it stand the lists of `WORDS`, from 1 on


class Done(Struct):
    status: str


class Other(Struct):
    method: str = ""
    id: int | None = None
    result: Raw = Raw(b"null")
    error: Failure | None = None


decode_other = Decoder(Other).decode
decode_done = Decoder(Done).decode


def parse(frame: bytes, interval: str = "1m") -> Iterable[Event]:
    try:
        said = decode(frame)
    except ValidationError:
        return parse_other(decode_other(frame))
    found: Iterable[Event] = said.records(interval)
    return found


def parse_other(other: Other) -> Iterable[Event]:
    if other.method in READ:
        raise BadFrame(f"{other.method} that cannot be read")
    if other.method:
        return ()
    if other.id is None and other.error is not None:  # the exchange could not read the request
        return (refused(other.error, None),)
    if other.id is None:
        raise BadFrame("neither an update nor an answer")
    id, asked = divmod(other.id, SPAN)
    is_list = 1 <= asked <= len(WORDS)
    if other.error is not None:
        return (refused(other.error, id),)
    try:
        decode_done(other.result)
    except ValidationError:
        return ()  # a pong
    if is_list:
        word = WORDS[asked - 1]
        return [Accepted(channel=channel) for channel, w in (LISTS | PREMIUM).items() if w == word]
    return (Accepted(id=id),)


def refused(said: Failure, id: int | None) -> Refused:
    """A request is refused whole; where it is for a market that there is not, that one is named."""
    reason = f"{said.message} (code {said.code})"
    if said.code == TOO_MANY:
        return Refused(reason, id, meaning="passing")
    found = NO_MARKET.fullmatch(said.message)
    return Refused(reason, id, raw_symbol=found[1], meaning="final") if found else Refused(reason, id)


def lists_parser() -> Parse:
    """The reader of one connection's lists: a market's first trades are past ones, and so are those told again."""
    newest: dict[str, int] = {}

    def read(frame: bytes) -> Iterable[Event]:
        try:
            said = decode(frame)
        except ValidationError:
            return parse_other(decode_other(frame))
        if type(said) is not TradesFrame:
            found: Iterable[Event] = said.records(INTERVALS[0])
            return found
        name, rows = said.params
        known = newest.get(name)
        trades = said.trades(known)
        newest[name] = max(known or 0, *(row.id for row in rows), 0)
        return trades

    return read


def bars_parser() -> Parse:
    """The reader of one connection's candles: frames do not say the interval, but the request's number does."""
    interval = "1m"

    def read(frame: bytes) -> Iterable[Event]:
        nonlocal interval
        events = parse(frame, interval)
        if any(type(event) is Accepted for event in events):
            asked = (decode_other(frame).id or 0) % SPAN - BARS
            interval = INTERVALS[asked] if 0 <= asked < len(INTERVALS) else interval
        return events

    return read


def ask_lists(channels: Mapping[Channel, str]) -> Subscribe:
    def ask(wanted: Sequence[Subscription], id: int) -> Iterable[bytes]:
        named: dict[str, list[str]] = {}
        for s in wanted:
            named.setdefault(channels[s.channel], []).append(s.raw_symbol)
        for word, names in named.items():
            yield request(id * SPAN + 1 + WORDS.index(word), word, list(dict.fromkeys(names)))

    return ask


def ask_books(wanted: Sequence[Subscription], id: int) -> Iterable[bytes]:
    for s in wanted:
        yield request(id * SPAN, "depth", [s.raw_symbol, DEPTH, "0", True])  # true: beside those before it


def leave_books(_: Sequence[Subscription], __: int) -> Iterable[bytes]:
    """Nothing: a book that is asked for again comes anew, and to leave means to leave all."""
    return ()


def ask_bars(wanted: Sequence[Subscription], id: int) -> Iterable[bytes]:
    for s in wanted:
        asked = BARS + INTERVALS.index(s.interval) if s.interval in PERIODS else 0
        yield request(id * SPAN + asked, "candles", [s.raw_symbol, PERIODS.get(s.interval, 0)])  # 0 is refused


def request(number: int, word: str, params: Sequence[object]) -> bytes:
    return encode({"id": number, "method": f"{word}_subscribe", "params": params})


def is_contract(instrument: Instrument) -> bool:
    return instrument.kind != "spot"


def exchange(
    id: str,
    *,
    docs: str,
    ws: str,
    listing: Listing,
    polls: tuple[Poll, ...] = (),
    limits: Limits,
    trouble: ReadTrouble | None = None,
    checked: str = "",
    notes: tuple[str, ...] = (),
) -> Exchange:
    """Declare an exchange that speaks so, by its addresses, its instruments and its limits."""
    heartbeat = Heartbeat(20, b'{"id":0,"method":"ping","params":[]}')
    return Exchange(
        id=id,
        docs=docs,
        checked=checked,
        trouble=trouble,
        limits=limits,
        listing=listing,
        notes=notes,
        feeds=(
            Stream(
                url=ws,
                channels=LISTS,
                subscribe=ask_lists(LISTS),
                parser=lists_parser,
                heartbeat=heartbeat,
                per_connection=1000,
                batch=1000,
                replaces=True,
            ),
            Stream(
                name="book",
                url=ws,
                channels=BOOK,
                subscribe=ask_books,
                unsubscribe=leave_books,
                parse=parse,
                heartbeat=heartbeat,
                sequence={"book": linked},
                depth=DEPTH,
                batch=1,
                pace=0.01,
                patience=45,
            ),
            Stream(
                name="candles",
                url=ws,
                channels=CANDLES,
                subscribe=ask_bars,
                parser=bars_parser,
                heartbeat=heartbeat,
                per_connection=1,
                batch=1,
            ),
            Stream(
                name="perpetuals",
                url=ws,
                channels=PREMIUM,
                serves=is_contract,
                subscribe=ask_lists(PREMIUM),
                parse=parse,
                heartbeat=heartbeat,
                per_connection=3000,
                batch=3000,
                replaces=True,
            ),
            *polls,
        ),
    )
