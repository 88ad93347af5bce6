"""NDAX, spot: AlphaPoint's protocol.

https://apidoc.ndax.io/
A frame names a function and holds a second JSON text. The answer to a request for a topic is the topic's state: the
whole book, the last trades. A request's number is made of the market's, so that its answer names the topic even where
it holds no row. The documentation has trades behind a login; ccxt and a client of 2026 have them without.
"""

from collections.abc import Iterable, Sequence

from aggregator.exchange import (
    Backfill,
    Exchange,
    Heartbeat,
    Listing,
    Request,
    Since,
    Stream,
    Subscribe,
    Subscription,
)
from aggregator.records import Channel
from aggregator.refusals import coded
from aggregator.sequence import ordered
from aggregator.wire import encode, interval_s
from connectors.ndax.frames import PLACES, parse, trades
from connectors.ndax.listing import read_instrument, rows
from connectors.ndax.wires import DEPTH

API = "https://api.ndax.io:8443/AP"
CHANNELS: dict[Channel, str] = {
    "trades": "Trades",
    "book": "Level2",
    "ticker": "Level1",
    "bbo": "Level1",
    "candles": "Ticker",
}
HISTORY = 100  # trades that are asked for


def market(s: Subscription) -> int:
    """The number of a market; 0, which is refused, of a name that is none."""
    return int(s.raw_symbol) if s.raw_symbol.isdecimal() else 0


def number(s: Subscription) -> int:
    minutes = (interval_s(s.interval) or 0) // 60 if s.channel == "candles" else 0
    return market(s) * PLACES + minutes


def topic(s: Subscription) -> tuple[str, int]:
    return f"Subscribe{CHANNELS[s.channel]}", number(s)


def ask(word: str) -> Subscribe:
    def frames(wanted: Sequence[Subscription], _: int) -> Iterable[bytes]:
        for s in wanted:
            said = {"OMSId": 1, "InstrumentId": market(s)}
            if word == "Subscribe":
                said |= details(s)
            yield call(f"{word}{CHANNELS[s.channel]}", said, number(s))

    return frames


def details(s: Subscription) -> dict[str, int]:
    if s.channel == "book":
        return {"Depth": DEPTH}
    if s.channel == "trades":
        return {"IncludeLastCount": HISTORY}
    return {"Interval": interval_s(s.interval) or 0, "IncludeLastCount": 1} if s.channel == "candles" else {}


def call(name: str, said: dict[str, int], id: int) -> bytes:
    return encode({"m": 0, "i": id, "n": name, "o": encode(said).decode()})


def missed(raw_symbol: str, _: Since) -> Request:
    return Request(f"{API}/GetLastTrades?OMSId=1&InstrumentId={raw_symbol}&Count={HISTORY}")


EXCHANGE = Exchange(
    id="ndax",
    docs="https://apidoc.ndax.io/",
    checked="2026-09, its documentation and two clients; nobody probed its live wire",
    notes=(
        "A market's raw symbol is its number, as in all its messages; the listing tells its name.",
        "Changes of a book are numbered, with holes: one that is lost unseen cannot be noticed by anyone.",
        "A book is asked for whole, because the exchange leaves levels behind in one of fewer levels.",
        "Best prices have no sizes: it says 0 of each.",
        "A ticker has the figures of 24 hours; those of a session are left out.",
        "A candle is told as it grows, and no word says that it is final.",
    ),
    trouble=coded("errorcode", "errormsg", fine=("0",)),
    listing=Listing((Request(f"{API}/GetInstruments?OMSId=1"),), rows, read_instrument, state=("SessionStatus",)),
    feeds=(
        Stream(
            url="wss://api.ndax.io/WSGateway",
            mirrors=("wss://api.ndax.io:8443/WSGateway/",),  # a client of 2026 has it there
            channels=CHANNELS,
            topic=topic,
            subscribe=ask("Subscribe"),
            unsubscribe=ask("Unsubscribe"),
            parse=parse,
            heartbeat=Heartbeat(30, call("Ping", {}, 2)),
            sequence={"book": ordered, "trades": ordered},
            backfill=Backfill(missed, lambda _, body: trades(body)),
        ),
    ),
)
