"""The short form of messages, of which `"format":"SHORT"` in a request is the sign."""

from typing import Any, Literal

from msgspec import Struct

LONG = {
    "qc": "quote_currency", "tc": "target_currency", "i": "id", "t": "timestamp", "p": "price", "q": "qty",
    "sm": "is_seller_maker", "a": "asks", "b": "bids", "qv": "quote_volume", "tv": "target_volume",
    "fi": "first", "hi": "high", "lo": "low", "la": "last", "iv": "interval", "ct": "candle_timestamp",
}  # fmt: skip


class Short(Struct):
    """Data in the short form; all else comes in the long one."""

    c: str
    d: dict[str, Any]
    r: Literal["DATA"]

    def spelled_out(self) -> dict[str, Any]:
        """The data by the names of the long form."""
        return {LONG.get(name, name): in_full(value) for name, value in self.d.items()}


def in_full(value: Any) -> Any:
    """A field by itself, or the levels of a book by the names of the long form."""
    if not isinstance(value, list):
        return value
    return [{LONG.get(name, name): figure for name, figure in level.items()} for level in value]
