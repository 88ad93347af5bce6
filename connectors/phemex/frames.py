"""Reading the frames of Phemex: which kind one is stands in the key of what it holds."""

from collections.abc import Callable, Iterable
from typing import Protocol

from msgspec import Raw, Struct, ValidationError
from msgspec.json import Decoder

from aggregator.errors import BadFrame
from aggregator.exchange import Accepted, Event, Meaning, Refused
from aggregator.wire import as_written
from connectors.phemex.figure_wires import ContractFrame, PackFrame, SpotFrame
from connectors.phemex.tick_wires import PlainTickFrame, TickFrame
from connectors.phemex.wires import (
    BarFrame,
    BookFrame,
    PlainBarFrame,
    PlainBookFrame,
    PlainTradeFrame,
    TradeFrame,
)

PACK = "perp_market24h_pack_p.update"


class Told(Protocol):
    """A frame of a channel."""

    def records(self) -> Iterable[Event]: ...


class Fault(Struct):
    code: int = 0
    message: str = ""


class Answer(Struct):
    id: int | None = None
    method: str | None = None
    error: Fault | None = None
    result: dict[str, Raw] | str | bool | None = None


Decode = Callable[[bytes], Told]
decode_pack: Decode = Decoder(PackFrame, strict=False).decode
decode_answer = Decoder(Answer).decode
decode_keys = Decoder(dict[str, Raw]).decode
DECODERS: dict[str, Decode] = {  # large integers may come as text: they are not strict
    "book": Decoder(BookFrame, strict=False).decode,
    "orderbook_p": Decoder(PlainBookFrame, strict=False).decode,
    "trades": Decoder(TradeFrame, strict=False).decode,
    "trades_p": Decoder(PlainTradeFrame, strict=False).decode,
    "kline": Decoder(BarFrame, strict=False).decode,
    "kline_p": Decoder(PlainBarFrame, strict=False).decode,
    "spot_market24h": Decoder(SpotFrame, strict=False).decode,
    "market24h": Decoder(ContractFrame, strict=False).decode,
    "tick": Decoder(TickFrame, strict=False).decode,
    "tick_p": Decoder(PlainTickFrame, strict=False, float_hook=as_written).decode,
}
BUSY = tuple((f'"{key}":'.encode(), DECODERS[key]) for key in ("orderbook_p", "book", "trades_p", "trades"))
INVALID = 6001  # an argument is not valid: the market is not served
NEAR = 100  # bytes, within which the busiest frames say what they hold


def parse(frame: bytes) -> Iterable[Event]:
    head = frame[:NEAR]
    for key, decode in BUSY:
        if key in head:
            try:
                return decode(frame).records()
            except ValidationError:
                break  # another kind that has these words, or it is unreadable
    return parse_by_keys(frame)


def parse_by_keys(frame: bytes) -> Iterable[Event]:
    keys = decode_keys(frame)
    for key in keys:
        decode = DECODERS.get(key)
        if decode is not None:
            return decode(frame).records()
    answer = decode_answer(frame)
    if answer.method == PACK:
        return decode_pack(frame).records()
    if answer.error is not None:
        fault = answer.error
        meaning: Meaning = "final" if fault.code == INVALID else "unknown"
        return (Refused(f"{fault.code}: {fault.message}", id=answer.id, meaning=meaning),)
    if answer.result is not None:
        return () if answer.result == "pong" or answer.id is None else (Accepted(id=answer.id),)
    if "symbol" in keys:
        raise BadFrame(f"a frame of {', '.join(keys)[:60]} that holds nothing known")
    return ()
