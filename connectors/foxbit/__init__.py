"""Foxbit, spot.

https://docs.foxbit.com.br/ws/v3/
A topic that is refused has the whole connection closed, so it is asked for again ever more rarely. Who asks for a topic
again gets its whole book anew, and nothing twice (2026-09, live probes by others). The documentation of the stream does
not say which field of a candle is which, and its example fits no usual order; that of REST does: candles are polled.
"""

from collections.abc import Iterable, Sequence

from aggregator.exchange import (
    Backfill,
    Exchange,
    Heartbeat,
    Limits,
    Listing,
    Poll,
    Request,
    Snapshot,
    Stream,
    Subscribe,
    Subscription,
)
from aggregator.records import Channel
from aggregator.refusals import coded
from aggregator.sequence import contiguous, ordered
from aggregator.wire import at, encode
from connectors.foxbit.frames import parse
from connectors.foxbit.rest import API, ask_candles, missed, read_candles, read_market, read_missed

CHANNELS: dict[Channel, str] = {"trades": "trades", "book": "orderbook-100", "ticker": "ticker", "bbo": "ticker"}


def topic(s: Subscription) -> str:
    return f"{CHANNELS[s.channel]}:{s.raw_symbol}"


def ask(word: str) -> Subscribe:
    def frames(wanted: Sequence[Subscription], _: int) -> Iterable[bytes]:
        entries: list[dict[str, object]] = []
        for s in wanted:
            entry: dict[str, object] = {"channel": CHANNELS[s.channel], "market_symbol": s.raw_symbol}
            entries.append(entry | {"snapshot": True} if s.channel == "book" and word == "subscribe" else entry)
        yield encode({"type": word, "params": entries})

    return frames


subscribe = ask("subscribe")


def ask_book(raw_symbol: str, id: int) -> bytes:
    return b"".join(subscribe([Subscription("book", raw_symbol)], id))


EXCHANGE = Exchange(
    id="foxbit",
    docs="https://docs.foxbit.com.br/ws/v3/",
    checked="2026-09, live probes by others; 2026-11, its documentation",
    notes=(
        "A whole book holds 300 levels a side, and has no time; levels beyond come when they change.",
        "Best prices come with the ticker, about each second, without sizes.",
        "Candles are of one minute alone, and are asked for: the stream's are not told apart by its documentation.",
        "The listing has no states, and leaves prediction markets out.",
    ),
    trouble=coded("code", "message", within="error", busy=("429",)),
    limits=Limits(weights={"https://api.foxbit.com.br": ((5, 2),)}, connects=(10, 2), connections=30),
    listing=Listing((Request(f"{API}/markets"),), at("data"), read_market),
    feeds=(
        Stream(
            url="wss://api.foxbit.com.br/ws/v3/public",
            channels=CHANNELS,
            topic=topic,
            subscribe=subscribe,
            unsubscribe=ask("unsubscribe"),
            parse=parse,
            heartbeat=Heartbeat(20, encode({"type": "message", "params": [{"channel": "ping"}]})),
            snapshot=Snapshot(ask=ask_book, in_band=True),
            sequence={"book": contiguous, "trades": ordered},
            backfill=Backfill(missed, read_missed),
            hangs_up=True,
            per_connection=50,
            batch=25,
            pace=0.2,
        ),
        Poll(name="candles", channels=("candles",), every=60, request=ask_candles, parse=read_candles),
    ),
)
