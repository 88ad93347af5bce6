"""Alpaca's own exchange of crypto: location `us` of its crypto data. It wants to see keys, of a paper account too.

https://docs.alpaca.markets/docs/real-time-crypto-pricing-data
"""

from collections.abc import Iterable, Sequence

from msgspec import Raw, structs
from msgspec.json import Decoder

from aggregator.exchange import (
    Credentials,
    Exchange,
    Keys,
    Limits,
    Listing,
    Request,
    Stream,
    Subscribe,
    Subscription,
)
from aggregator.records import Channel
from aggregator.wire import encode, symbols_by
from connectors.alpaca.listing import read_asset
from connectors.alpaca.wires import parse

HOST = "https://api.alpaca.markets"
CHANNELS: dict[Channel, str] = {"trades": "trades", "book": "orderbooks", "bbo": "quotes", "candles": "bars"}
BARS = {"1m": "bars", "1d": "dailyBars"}


def word_of(s: Subscription) -> str:
    return BARS.get(s.interval, f"bars of {s.interval}") if s.channel == "candles" else CHANNELS[s.channel]


def ask(action: str) -> Subscribe:
    def frames(wanted: Sequence[Subscription], _: int) -> Iterable[bytes]:
        by_word = symbols_by(word_of, wanted)
        if "bars" in by_word:
            by_word["updatedBars"] = by_word["bars"]
        yield encode({"action": action, **by_word})

    return frames


def log_in(keys: Credentials, _: int, __: bytes) -> bytes:
    return encode({"action": "auth", "key": keys["key"], "secret": keys["secret"]})


def with_keys(keys: Credentials, _: int, request: Request) -> Request:
    return structs.replace(request, headers={"APCA-API-KEY-ID": keys["key"], "APCA-API-SECRET-KEY": keys["secret"]})


EXCHANGE = Exchange(
    id="alpaca",
    docs="https://docs.alpaca.markets/docs/real-time-crypto-pricing-data",
    keys=Keys(
        fields={"key": "API Key ID", "secret": "API Secret Key"}, page="https://app.alpaca.markets/dashboard/overview"
    ),
    checked="2026-09, its documentation and ccxt 4.5.90; nothing was seen live",
    notes=(
        "Keys of a paper account are for another host of its markets: paper-api.alpaca.markets, by `endpoints`.",
        "An account may have one connection; beyond its plan (30 topics of trades and bbo, 10 books) all is refused.",
        "A candle's prices are of trades and of the middle between bid and ask: one without trades has prices, too.",
        "Candles are of a minute or of a day. A minute is told again where a trade came late.",
        "Books have neither numbers nor a checksum: a change that is lost is not seen.",
    ),
    limits=Limits(weights={HOST: ((200, 60),)}, connections=1),
    listing=Listing(
        (Request(f"{HOST}/v2/assets?asset_class=crypto", sign=with_keys),), Decoder(list[Raw]).decode, read_asset
    ),
    feeds=(
        Stream(
            url="wss://stream.data.alpaca.markets/v1beta3/crypto/us",
            login=b'{"action":"auth"}',
            sign=log_in,
            greets=True,
            compression="offered",
            channels=CHANNELS,
            topic=lambda s: (word_of(s), s.raw_symbol),
            subscribe=ask("subscribe"),
            unsubscribe=ask("unsubscribe"),
            parse=parse,
            per_connection=5000,
            batch=100,
            patience=1800,
        ),
    ),
)
