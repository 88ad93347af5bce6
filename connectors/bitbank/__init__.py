"""bitbank, spot: rooms of Socket.IO.

https://github.com/bitbankinc/bitbank-api-docs/blob/master/public-stream.md
Changes of a book and the whole of it are two rooms, numbered by one counter of all pairs: its numbers show no loss, but
a whole book comes every 15 seconds. A room is neither confirmed nor refused; joining one again asks for its book anew.
"""

from collections.abc import Iterable, Sequence

from aggregator.exchange import (
    Backfill,
    Exchange,
    Listing,
    Request,
    Snapshot,
    Stream,
    Subscribe,
    Subscription,
)
from aggregator.records import Channel
from aggregator.refusals import coded
from aggregator.sequence import ordered
from aggregator.wire import at
from connectors.bitbank.frames import read
from connectors.bitbank.listing import read_pair
from connectors.bitbank.rest import missed, read_missed
from connectors.families.socketio import emit, packets

CHANNELS: dict[Channel, str] = {
    "trades": "transactions",
    "book": "depth_diff",
    "ticker": "ticker",
    "bbo": "ticker",
    "status": "circuit_break_info",
}
WHOLE = "depth_whole"


def topic(s: Subscription) -> str:
    return f"{CHANNELS[s.channel]}_{s.raw_symbol}"


def whole(raw_symbol: str, _: int = 0) -> bytes:
    return emit("join-room", f"{WHOLE}_{raw_symbol}")


def ask(word: str) -> Subscribe:
    def frames(wanted: Sequence[Subscription], _: int) -> Iterable[bytes]:
        for s in wanted:
            yield emit(word, topic(s))
            if s.channel == "book":
                yield emit(word, f"{WHOLE}_{s.raw_symbol}")

    return frames


EXCHANGE = Exchange(
    id="bitbank",
    docs="https://github.com/bitbankinc/bitbank-api-docs",
    checked="2026-09, live probes by others; 2026-11, its documentation",
    trouble=coded("code", within="data", busy=("10009",)),
    notes=(
        "A book holds about two hundred levels a side, and comes whole every 15 seconds, which mends what was lost.",
        "In a circuit break bids and asks may cross, and there is no book until that is over.",
        "Best prices come with the ticker, about each second, without sizes.",
        "A pair is suspended where the listing says `stop_order`; neither `is_enabled` nor its status tells that.",
        "A room that there is not is silent: nothing is refused.",
        "Candles are answered for a day that the request must name, so they are not had.",
    ),
    listing=Listing((Request("https://api.bitbank.cc/v1/spot/pairs"),), at("data", "pairs"), read_pair),
    feeds=(
        Stream(
            url="wss://stream.bitbank.cc/socket.io/?EIO=4&transport=websocket",
            channels=CHANNELS,
            topic=topic,
            subscribe=ask("join-room"),
            unsubscribe=ask("leave-room"),
            parse=packets(read),
            greets=True,
            snapshot=Snapshot(ask=whole, in_band=True),
            periodic_joins=True,
            sequence={"book": ordered, "trades": ordered},
            backfill=Backfill(missed, read_missed),
            pace=0.02,
            acknowledges=False,
        ),
    ),
)
