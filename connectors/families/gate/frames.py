"""Reading the frames of Gate's sockets: data by channel, and answers to what was asked.

https://www.gate.com/docs/developers/apiv4/ws/en/
"""

from collections.abc import Iterable

from msgspec import Struct, ValidationError
from msgspec.json import Decoder

from aggregator.errors import BadFrame
from aggregator.exchange import Accepted, Event, Hangup, Refused
from aggregator.records import Channel
from aggregator.refusals import meaning_of
from aggregator.wire import channels_by_word, number
from connectors.families.gate.contract_wires import ContractFrame
from connectors.families.gate.option_wires import OptionFrame
from connectors.families.gate.spot_wires import SpotFrame

BOOK_STREAM = "obu"  # whole books and changes in one stream, for spot and perpetuals
SPOT: dict[Channel, str] = {
    "trades": "spot.trades",
    "book": f"spot.{BOOK_STREAM}",
    "bbo": "spot.book_ticker",
    "ticker": "spot.tickers",
    "candles": "spot.candlesticks",
}
FUTURES: dict[Channel, str] = {
    "trades": "futures.trades",
    "book": "futures.order_book_update",
    "bbo": "futures.book_ticker",
    "ticker": "futures.tickers",
    "candles": "futures.candlesticks",
    "open_interest": "futures.tickers",
    "mark_price": "futures.tickers",
    "index_price": "futures.tickers",
}
PERPETUALS: dict[Channel, str] = FUTURES | {
    "book": f"futures.{BOOK_STREAM}",
    "funding": "futures.tickers",
    "liquidations": "futures.public_liquidates",
}
OPTIONS: dict[Channel, str] = {
    "trades": "options.trades",
    "book": "options.order_book_update",
    "bbo": "options.book_ticker",
    "candles": "options.contract_candlesticks",
    "options": "options.contract_tickers",
}
OURS = channels_by_word(SPOT, PERPETUALS, FUTURES, OPTIONS)
READ = {
    *OURS,
    "spot.trades_v2",
    "spot.order_book_update",
    "spot.order_book",
    "futures.order_book",
    "options.order_book",
    "options.ul_trades",
    "options.mark_prices",
}


UNKNOWN = ("unknown currency pair", "unknown contract", "invalid currency pair")  # words for a market that there is not
ALREADY = "Alert sub "  # how the exchange's words begin where a topic is on already (2026-09)


class Fault(Struct):
    code: int = 0
    message: str = ""


class ResultWire(Struct):
    """The result that an answer holds, or the exchange's word about itself (`type`, `msg`)."""

    status: str = ""
    type: str = ""
    msg: str = ""


class Other(Struct):
    """All but data; `id` is that of the request, which old frames do not repeat."""

    channel: str = ""
    event: str = ""
    id: int | None = None
    error: Fault | None = None
    payload: list[str | int] | None = None


class Notice(Struct):
    result: ResultWire


decode = Decoder(SpotFrame | ContractFrame | OptionFrame, strict=False, float_hook=number).decode
decode_other = Decoder(Other, strict=False).decode
decode_notice = Decoder(Notice).decode


def parse(frame: bytes) -> Iterable[Event]:
    try:
        events: Iterable[Event] = decode(frame).records()
    except ValidationError as error:
        return parse_other(frame, error)
    return events


def parse_other(frame: bytes, why: ValidationError) -> Iterable[Event]:
    """A frame that is no data; raises BadFrame where it should have been."""
    said = decode_other(frame)
    if said.error is not None:
        return parse_fault(said, said.error)
    if said.event == "subscribe":
        return (Accepted(id=said.id),) if said.id is not None else accepted(said)
    if said.channel.endswith(".system"):
        notice = decode_notice(frame).result
        return (Hangup(notice.msg),) if notice.type == "upgrade" else ()
    if said.channel in READ and said.event != "unsubscribe":
        raise BadFrame(f"data of {said.channel} that cannot be read: {why}")
    return ()


def parse_fault(said: Other, fault: Fault) -> Iterable[Event]:
    if said.event == "unsubscribe":
        return ()
    if fault.message.startswith(ALREADY):
        return (Accepted(id=said.id),) if said.id is not None else accepted(said)
    reason = f"{fault.message} (code {fault.code})"
    meaning = meaning_of(reason, final=UNKNOWN, passing=("too many", "rate limit", "too fast"))
    if said.id is not None or said.payload is None:
        return (Refused(reason, id=said.id, meaning=meaning),)
    return [
        Refused(reason, channel=c, raw_symbol=name, meaning=meaning)
        for c in OURS.get(said.channel, ())
        for name in named(said)
    ]


def accepted(said: Other) -> Iterable[Event]:
    """An answer without the request's id names its topics, or of old the channel alone."""
    names = named(said) or (None,)
    return [Accepted(channel=channel, raw_symbol=name) for channel in OURS.get(said.channel, ()) for name in names]


def named(said: Other) -> list[str]:
    """The instruments of a request: `[name, …]`, `[name, frequency, levels]`, `[interval, name]`, `[stream]`."""
    words = [str(word) for word in said.payload or ()]
    if said.channel.endswith(BOOK_STREAM):
        return [word.removeprefix("ob.").rpartition(".")[0] for word in words]
    if said.channel.endswith("candlesticks"):
        return words[1:2]
    return words[:1] if "order_book" in said.channel else words
