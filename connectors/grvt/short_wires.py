"""The short form of frames, which `wss://market-data.grvt.io/ws/lite` speaks: the same by other names.

https://github.com/gravity-technologies/api-spec (the column `Lite` of its tables)
"""

from collections.abc import Mapping
from typing import Any

from msgspec.json import Decoder

from aggregator.wire import as_written, encode

DATA = {"s": "stream", "s1": "selector", "sn": "sequence_number", "ps": "prev_sequence_number", "f": "feed"}
ANSWER = {"j": "jsonrpc", "r": "result", "e": "error", "i": "id", "m": "method"}
RESULT = {"s": "stream", "s1": "subs", "u": "unsubs", "ns": "num_snapshots", "fs": "first_sequence_number"}
LEVEL = {"p": "price", "s": "size", "no": "num_orders"}
FEED = {
    "et": "event_time", "i": "instrument", "mp": "mark_price", "ip": "index_price", "lp": "last_price",
    "ls": "last_size", "mp1": "mid_price", "bb": "best_bid_price", "bb1": "best_bid_size", "ba": "best_ask_price",
    "ba1": "best_ask_size", "bv": "buy_volume_24h_b", "sv": "sell_volume_24h_b", "bv1": "buy_volume_24h_q",
    "sv1": "sell_volume_24h_q", "hp": "high_price", "lp1": "low_price", "op": "open_price", "oi": "open_interest",
    "fr2": "funding_rate", "nf": "next_funding_time", "it": "is_taker_buyer", "s": "size", "p": "price",
    "ti": "trade_id", "v": "venue", "b": "bids", "a": "asks", "ot": "open_time", "ct": "close_time", "o": "open",
    "c": "close", "h": "high", "l": "low", "vb": "volume_b", "vq": "volume_q", "t": "trades",
}  # fmt: skip
WITHIN: dict[str, Mapping[str, str]] = {
    "feed": FEED,
    "result": RESULT,
    "error": {"c": "code", "m": "message"},
    "bids": LEVEL,
    "asks": LEVEL,
}

decode = Decoder(dict[str, Any], float_hook=as_written).decode


def spelled_out(frame: bytes) -> bytes:
    """A frame by the names of the long form."""
    said = decode(frame)
    return encode(renamed(said, DATA if "f" in said else ANSWER if "j" in said else RESULT))


def renamed(value: Any, names: Mapping[str, str]) -> Any:
    """An object by longer names, and each of a list of them."""
    if isinstance(value, list):
        return [renamed(row, names) for row in value]
    if not isinstance(value, dict):
        return value
    named = {names.get(name, name): inner for name, inner in value.items()}
    return {name: renamed(inner, WITHIN[name]) if name in WITHIN else inner for name, inner in named.items()}
