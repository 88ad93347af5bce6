"""The reading of a frame: it names a room, and so the kind of its data and the pair."""

from collections.abc import Callable, Iterable
from typing import Any

from msgspec import Raw, Struct
from msgspec.json import Decoder

from aggregator.exchange import Event
from connectors.bitbank.wires import Break, Diff, Room, TickerWire, Transactions, Whole


class Named(Struct):
    room_name: str  # `depth_diff_btc_jpy`


READERS: dict[str, Callable[[Raw], Room[Any]]] = {
    "transactions": Decoder(Room[Transactions], strict=False).decode,
    "depth_diff": Decoder(Room[Diff], strict=False).decode,
    "depth_whole": Decoder(Room[Whole], strict=False).decode,
    "ticker": Decoder(Room[TickerWire], strict=False).decode,
    "circuit_break_info": Decoder(Room[Break], strict=False).decode,
}
decode_named = Decoder(Named).decode


def read(name: str, payload: Raw) -> Iterable[Event]:
    if name != "message":
        return ()
    kind, base, quote = decode_named(payload).room_name.rsplit("_", 2)
    decode = READERS.get(kind)
    found: Iterable[Event] = () if decode is None else decode(payload).message.data.records(f"{base}_{quote}")
    return found
