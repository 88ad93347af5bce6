"""Bitfinex: spot and perpetuals.

https://docs.bitfinex.com/docs/ws-general
Funding markets (`fUSD`: loans between users) are no market of the records here, and left out.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal

from msgspec import DecodeError, Raw
from msgspec.json import Decoder

from aggregator.exchange import Exchange, Limits, Listing, Request, Stream, Subscription, Trouble
from aggregator.records import Channel, Instrument
from aggregator.sequence import linked
from aggregator.wire import encode
from connectors.bitfinex.frames import checksum, parser
from connectors.bitfinex.history import HISTORY, REST

DEPTH = 250  # levels a side: 25, 100 or 250
SPOT: dict[Channel, str] = {
    "trades": "trades",
    "book": "book",
    "ticker": "ticker",
    "bbo": "ticker",
    "candles": "candles",
    "liquidations": "liq:global",
}
STATUS: dict[Channel, str] = dict.fromkeys(("funding", "mark_price", "open_interest"), "deriv")
CHANNELS = SPOT | STATUS
INTERVALS = {"1d": "1D", "1w": "1W", "2w": "14D"}
TIMESTAMP, SEQ_ALL, OB_CHECKSUM = 32_768, 65_536, 131_072
CONF = encode({"event": "conf", "flags": TIMESTAMP + SEQ_ALL + OB_CHECKSUM})

TOO_MANY = 11010

decode_error = Decoder(tuple[Literal["error"], int, str]).decode
decode_tables = Decoder(list[list[Raw]]).decode
decode_row = Decoder(tuple[str, list[str | float | None]] | str).decode


def about(s: Subscription) -> dict[str, str]:
    """The fields by which a subscription's frame names its topic."""
    name = CHANNELS[s.channel]
    if name == "liq:global":
        return {"channel": "status", "key": name}
    if name == "deriv":
        return {"channel": "status", "key": f"deriv:{s.raw_symbol}"}
    if name == "candles":
        return {"channel": name, "key": f"trade:{INTERVALS.get(s.interval, s.interval)}:{s.raw_symbol}"}
    book = {"prec": "P0", "freq": "F0", "len": str(DEPTH)} if name == "book" else {}
    return {"channel": name, "symbol": s.raw_symbol} | book


def topic(s: Subscription) -> tuple[str, str]:
    channel, name, *_ = about(s).values()
    return channel, name


def subscribe(wanted: Sequence[Subscription], _: int) -> Iterable[bytes]:
    return [CONF, *(encode({"event": "subscribe"} | about(s)) for s in wanted)]


def trouble(_: int, __: Mapping[str, str], body: bytes) -> Trouble | None:
    """An error is `["error", code, words]`, at times with HTTP 200."""
    try:
        code, words = decode_error(body)[1:]
    except DecodeError:
        return None
    return Trouble(f"{code}: {words}", is_busy=code == TOO_MANY)


def rows(body: bytes) -> Iterable[Raw]:
    return [row for table in decode_tables(body) for row in table]


def read_pair(row: Raw) -> Instrument:
    """`["AAVE:USD", [.., least size, greatest size, ..]]`, or the pair alone."""
    said = decode_row(row)
    pair, figures = (said, []) if isinstance(said, str) else said
    base, quote = pair.split(":") if ":" in pair else (pair[:3], pair[3:])
    least, most = (str(f) if f is not None else None for f in [*figures, *[None] * 5][3:5])
    instrument = Instrument(raw_symbol=f"t{pair}", base=base, quote=quote, min_size=least, max_size=most)
    if base.endswith("F0") and quote.endswith("F0"):
        instrument.kind, instrument.linear, instrument.contract_size = "perpetual", True, "1"
        instrument.base, instrument.quote = base.removesuffix("F0"), quote.removesuffix("F0")
        instrument.settle = instrument.quote
    return instrument


def stream(name: str, channels: dict[Channel, str], serves: Callable[[Instrument], bool]) -> Stream:
    return Stream(
        name=name,
        url="wss://api-pub.bitfinex.com/ws/2",
        channels=channels,
        serves=serves,
        topic=topic,
        subscribe=subscribe,
        parser=parser,
        sequence={"book": linked},
        checksum=checksum,
        depth=DEPTH,
        per_connection=25,
        batch=25,
        patience=45,  # each channel beats every 15 s
    )


EXCHANGE = Exchange(
    id="bitfinex",
    docs="https://docs.bitfinex.com/docs/ws-general",
    checked="2026-09, live probes by others",
    trouble=trouble,
    limits=Limits(connects=(20, 60), weights={REST: ((30, 60),)}),
    history=HISTORY,
    listing=Listing((Request(f"{REST}/conf/pub:info:pair,pub:info:pair:futures"),), rows, read_pair),
    feeds=(
        stream("spot", SPOT, lambda i: i.kind == "spot"),
        stream("perpetuals", CHANNELS, lambda i: i.kind == "perpetual"),
    ),
    notes=(
        "bbo comes with the ticker, each 15 seconds in September 2026: the book tells the best prices at once.",
        "bbo has no sizes: those that it is sent with are sums over 25 levels.",
        "Prices have five significant digits, and no fixed step.",
        "A book's checksum comes as a delta that changes nothing.",
        "A liquidation comes when it is triggered and at each match: `status` tells which.",
        "Funding: the rate of the current eight hours, and as predicted what the next has come to so far.",
        "What is predicted is the mean spread beyond a clamp and up to a cap, both of which are sent beside it.",
        "There is no index: the spot price that is sent with the mark is that of the exchange's own book.",
        "Books can only be asked for again on a new connection.",
    ),
)
