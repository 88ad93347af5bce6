"""Bitfinex's frames: arrays that name their channel by an id, which a `subscribed` before them explains.

https://docs.bitfinex.com/docs/ws-general
With `conf` flags each array ends in its number, counted over the whole connection, and in the time it was sent.
"""

from collections.abc import Callable, Sequence

from msgspec import Struct
from msgspec.json import Decoder

from aggregator.book import OrderBook
from aggregator.errors import BadFrame
from aggregator.exchange import Accepted, Event, Hangup, Meaning, Parse, Refused
from aggregator.records import Instrument
from aggregator.sequence import Count
from aggregator.wire import crc_in_turns, ms, number
from connectors.bitfinex.wires import (
    INTERVALS,
    Place,
    Row,
    read_book,
    read_candles,
    read_derivative,
    read_liquidations,
    read_ticker,
    read_trades,
)

READERS = {"trades": read_trades, "book": read_book, "ticker": read_ticker}
PRIVATE = 0  # the channel of an account
NO_SYMBOL = "symbol: invalid"
ALREADY, NO_CHANNEL, NOT_READY = 10301, 10302, 11000  # https://docs.bitfinex.com/docs/abbreviations-glossary
RESTART, RESUMED = (
    20051,
    20061,
)  # the server restarts; a maintenance is over (it begins with 20060, which closes nothing)
FIRST_MS = 10**12  # above any number of a frame, below any time in ms
CHECKED = 25  # levels a side under the checksum


class Said(Struct):
    """A message with a name: a subscription, a refusal, a notice."""

    event: str
    channel: str = ""
    chanId: int | None = None
    symbol: str = ""
    key: str = ""
    prec: str = ""
    msg: str = ""
    code: int | None = None

    @property
    def topic(self) -> tuple[str, str]:
        """The fields by which a subscription names its topic."""
        return self.channel, self.key or self.symbol

    def about(self) -> tuple[str, str, str]:
        """Its kind (nothing where it is not ours), its symbol and its interval."""
        if self.channel == "candles":
            kind, interval, symbol = [*self.key.split(":", 2), "", ""][:3]
            is_ours = kind == "trade" and symbol.startswith("t")
            return ("candles" if is_ours else ""), symbol, INTERVALS.get(interval, interval)
        if self.channel == "status":
            kind, _, symbol = self.key.partition(":")
            return (kind if kind in {"deriv", "liq"} else ""), symbol, ""
        is_ours = self.symbol.startswith("t") and not (
            self.channel == "book" and self.prec == "R0"
        )  # R0: single orders
        return (self.channel if is_ours and self.channel in READERS else ""), self.symbol, ""

    def refused(self) -> Sequence[Event]:
        if self.code == ALREADY:
            return (Accepted(topic=self.topic),)
        is_final = self.code == NO_CHANNEL or self.msg == NO_SYMBOL
        meaning: Meaning = "final" if is_final else "passing" if self.code == NOT_READY else "unknown"
        return (Refused(self.msg, topic=self.topic if self.channel else None, meaning=meaning),)

    def place(self, count: Count) -> Place | None:
        """The place that the frames of a subscription belong to; None where it is not ours."""
        kind, symbol, interval = self.about()
        if kind == "candles":
            return Place(symbol, count, read_candles, interval)
        if kind in {"deriv", "liq"}:
            return Place(symbol, count, read_derivative if kind == "deriv" else read_liquidations)
        return Place(symbol, count, READERS[kind]) if kind else None


decode_said = Decoder(Said).decode
decode: Callable[[bytes], Row] = Decoder(list, float_hook=number).decode


def parser() -> Parse:
    count = Count()
    places: dict[int, Place | None] = {}  # None: not ours

    def parse(frame: bytes) -> Sequence[Event]:
        if frame[:1] == b"{":
            return hear(decode_said(frame), places, count)
        channel, *message = decode(frame)
        if channel == PRIVATE:
            return ()
        sent = ending(message, count)
        if message[0] == "hb":
            return ()
        if channel not in places:
            raise BadFrame(f"nothing has said what channel {channel} is")
        place = places[channel]
        try:
            return () if place is None else place.read(place, message, sent)
        except Exception:
            count.lose()
            raise

    return parse


def hear(said: Said, places: dict[int, Place | None], count: Count) -> Sequence[Event]:
    if said.event == "subscribed" and said.chanId is not None:
        places[said.chanId] = said.place(count)
        return (Accepted(topic=said.topic),)
    if said.event == "unsubscribed" and said.chanId is not None:
        places[said.chanId] = None
    if said.event == "error":
        return said.refused()
    return (Hangup(said.msg),) if said.event == "info" and said.code in {RESTART, RESUMED} else ()


def ending(message: Row, count: Count) -> int | None:
    """Heed a frame's number and give the time it was sent, where it has them."""
    sent = None
    is_word = type(message[0]) is str and message[0] != "hb"  # followed by what it is about
    for value in message[2 if is_word else 1 :]:
        if type(value) is not int:
            continue  # the code has no meaning here
        if value > FIRST_MS:
            sent = ms(value)
        else:
            count.hear(value)
    return sent


def checksum(book: OrderBook, _: Instrument | None) -> int:
    """The CRC of the 25 best bids and asks, with numbers as JavaScript writes them; amounts of asks are negative."""
    return crc_in_turns(*book.spelled(CHECKED, bid, ask))


def bid(price: str, size: str) -> str:
    return f"{written(price)}:{written(size)}"


def ask(price: str, size: str) -> str:
    return f"{written(price)}:-{written(size)}"


def written(number: str) -> str:
    """A number below a millionth has an exponent."""
    if not number.startswith("0.000000"):
        return number
    digits = number[2:].lstrip("0")
    rest = f".{digits[1:]}" if digits[1:] else ""
    return f"{digits[:1]}{rest}e-{len(number) - 1 - len(digits)}"
