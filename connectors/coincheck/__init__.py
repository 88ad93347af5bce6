"""Coincheck, spot.

https://coincheck.com/documents/exchange/api
The stream brings a book's changes without numbers, and the whole is had by REST, which is up to four seconds ahead: a
level that is gone there may come back for a moment. Who subscribes twice gets everything twice, and nothing is left:
only a new connection ends a topic.
"""

from collections.abc import Iterable, Sequence

from msgspec.json import Decoder

from aggregator.exchange import (
    Backfill,
    Event,
    Exchange,
    Limits,
    Listing,
    Poll,
    Request,
    Snapshot,
    Stream,
    Subscription,
)
from aggregator.records import Channel
from aggregator.refusals import coded
from aggregator.sequence import ordered
from aggregator.wire import as_written, either, encode
from connectors.coincheck.rest import API, missed, read_book, read_missed, read_pair, read_states, read_ticker, rows
from connectors.coincheck.wires import Changes, OldTrade, TradeRow

CHANNELS: dict[Channel, str] = {"trades": "trades", "book": "orderbook"}

decode = either(
    Decoder(tuple[str, Changes]).decode,
    either(Decoder(OldTrade, float_hook=as_written).decode, Decoder(list[TradeRow], float_hook=as_written).decode),
)


def parse(frame: bytes) -> Iterable[Event]:
    said = decode(frame)
    if isinstance(said, OldTrade):
        return (said.record(),)
    if isinstance(said, tuple):
        return (said[1].record(said[0]),)
    return [row.record() for row in reversed(said)]  # newest first on the wire


def subscribe(wanted: Sequence[Subscription], _: int) -> Iterable[bytes]:
    for s in wanted:
        yield encode({"type": "subscribe", "channel": f"{s.raw_symbol}-{CHANNELS[s.channel]}"})


EXCHANGE = Exchange(
    id="coincheck",
    docs="https://coincheck.com/documents/exchange/api",
    checked="2026-09, live probes by others",
    trouble=coded("error"),
    notes=(
        "The book has neither numbers nor a checksum: a change that is lost unseen cannot be noticed by anyone.",
        "A whole book holds 200 levels a side.",
        "A pair that there is not is silent: nothing is refused.",
        "Tickers are polled; their best prices have no sizes, and may be ten seconds old. It has no candles.",
        "The listing is that of its markets' states; it does not say the steps of prices and sizes.",
    ),
    limits=Limits(weights={"https://coincheck.com": ((1, 1.5),)}),
    listing=Listing((Request(f"{API}/exchange_status"),), rows, read_pair),
    feeds=(
        Stream(
            url="wss://ws-api.coincheck.com/",
            channels=CHANNELS,
            subscribe=subscribe,
            parse=parse,
            snapshot=Snapshot(lambda s: Request(f"{API}/order_books?pair={s}"), read_book, after_delta=False),
            sequence={"trades": ordered},
            backfill=Backfill(missed, read_missed),
            pace=0.02,
            patience=3600,  # a pair may be that quiet, and a line that is dead shows by its pings
            acknowledges=False,
        ),
        Poll(
            name="ticker",
            channels=("ticker", "bbo"),
            every=60,
            request=lambda s: Request(f"{API}/ticker?pair={s}"),
            parse=read_ticker,
        ),
        Poll(
            name="state",
            channels=("status",),
            every=60,
            request=lambda _: Request(f"{API}/exchange_status"),
            parse=read_states,
            many=True,
        ),
    ),
)
