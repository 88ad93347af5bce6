"""Kraken spot.

https://docs.kraken.com/exchange/api-reference/spot-websocket
The REST interface keeps two old codes, XBT and XDG, that the socket spells BTC and DOGE.
"""

from collections.abc import Iterable, Mapping

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.exchange import Backfill, Exchange, Limits, Listing, Older, Request, Since, Trouble
from aggregator.records import Instrument, Side, Trade
from aggregator.wire import Text, number, seconds, step, text
from connectors.families.kraken import streams
from connectors.families.kraken.notice_wires import STATES
from connectors.kraken.history import history

API = "https://api.kraken.com/0/public"
SOCKET_CODES = {"XBT": "BTC", "XDG": "DOGE"}
REST_CODES = {code: old for old, code in SOCKET_CODES.items()}
LIMITS = ("Rate limit", "Too many requests", "Temporary lockout", "Throttled")
SIDES: dict[str, Side] = {"b": "buy", "s": "sell"}  # the taker's


class Pair(Struct):
    pair_decimals: int
    lot_decimals: int
    wsname: str | None = None  # `XBT/USD`; a pair without one is not on the socket
    tick_size: Text = None
    ordermin: str | None = None
    costmin: str | None = None
    status: str = "online"


class Pairs(Struct):
    result: dict[str, Raw]


class Errors(Struct):
    error: list[str] = []


class Dealt(Struct):
    result: dict[str, Text]  # the trades under the pair's name, and `last`


decode_pairs = Decoder(Pairs).decode
decode_pair = Decoder(Pair, float_hook=number).decode
decode_errors = Decoder(Errors).decode
decode_dealt = Decoder(Dealt, float_hook=number).decode


def trouble(_: int, __: Mapping[str, str], body: bytes) -> Trouble | None:
    """Errors come with HTTP 200, in a list that may hold warnings too."""
    errors = [error for error in decode_errors(body).error if error.startswith("E")]
    if not errors:
        return None
    words = ", ".join(errors)
    return Trouble(words, is_busy=any(limit in words for limit in LIMITS))


def rows(body: bytes) -> Iterable[Raw]:
    return decode_pairs(body).result.values()


def read_pair(row: Raw) -> Instrument | None:
    pair = decode_pair(row)
    if pair.wsname is None:
        return None
    base, _, quote = (SOCKET_CODES.get(code, code) for code in pair.wsname.partition("/"))
    return Instrument(
        raw_symbol=f"{base}/{quote}",
        base=base,
        quote=quote,
        tick_size=step(pair.pair_decimals) if pair.tick_size is None else text(pair.tick_size),
        lot_size=step(pair.lot_decimals),
        min_size=pair.ordermin,
        min_notional=pair.costmin,
        state=STATES.get(pair.status, "unknown"),
    )


def pair_of(raw_symbol: str) -> str:
    return "".join(REST_CODES.get(code, code) for code in raw_symbol.split("/"))


def missed(raw_symbol: str, since: Since) -> Request:
    return Request(f"{API}/Trades?pair={pair_of(raw_symbol)}&since={since.ts}&count=1000")


def read_missed(raw_symbol: str, body: bytes) -> Iterable[Trade]:
    for name, trades in decode_dealt(body).result.items():
        for price, size, time, side, _, _, id in () if name == "last" else trades:
            yield Trade(
                raw_symbol=raw_symbol,
                id=str(id),
                price=price,
                size=size,
                side=SIDES[side],
                sequence=id,
                ts_event=seconds(time),
            )


MISSED = Backfill(missed, read_missed)

EXCHANGE = Exchange(
    id="kraken",
    older=(Older(channels=("trades", "book", "bbo", "ticker", "candles")),),
    docs="https://docs.kraken.com/exchange/api-reference/spot-websocket",
    checked="2026-11, its documentation",
    announced=("Spot is to be on the unified WebSocket `uws.kraken.com`, too, in the first quarter of 2027.",),
    feeds=streams("wss://ws.kraken.com/v2", MISSED),
    listing=Listing((Request(f"{API}/AssetPairs"),), rows, read_pair),
    history=history(API, MISSED, pair_of),
    trouble=trouble,
    limits=Limits(connects=(150, 600), weights={API: ((1, 1),)}),
    notes=(
        "The book is a hundred levels a side and has no numbers: the checksum of the ten best levels guards it.",
        "Native bbo comes when a best price moves, not when only its size does.",
        "Captures of the protocol's version 1 are read too, under the symbols of today.",
        "Candles are of one interval a symbol and connection.",
        "Symbols are the socket's: BTC and DOGE, where REST says XBT and XDG.",
    ),
)
