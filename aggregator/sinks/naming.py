"""Names at a target: a channel, an exchange and a symbol as a subject, a topic, a key.

Each kind of target allows other characters. One function serves them all, and it is injective: two symbols never share
a name, whatever an exchange calls them. What a target does not allow is percent-encoded as in an address.
"""

from collections.abc import Sequence

from msgspec import Struct

from aggregator.bus.selection import TOLD_BY_CHANNEL, topic_keys
from aggregator.records import Record, channel_of

NULL, EMPTY = "%none", "%empty"  # no encoded text reads like these: behind its % stand two digits
MOST_PLACES = 1 << 16  # remembered; then they are named anew
MARKS = "/:+@-_=~,()"  # marks that symbols hold, and most targets take as they are


class Naming(Struct, frozen=True):
    """The rule of one kind of target.

    keep: characters beside letters and digits of ASCII that stand as they are; never `%`
    separator: stands between the parts of a name; it is none of `keep`
    mark: begins what is encoded; another one than `%` where a target takes no `%`; it is none of `keep`
    """

    keep: str
    separator: str
    mark: str = "%"

    def part(self, text: str | None) -> str:
        """One part of a name: never empty, and no other text has the same."""
        return _part(self.keep, self.mark, text)

    def join(self, *parts: str | None) -> str:
        """A name of several parts."""
        return self.separator.join([_part(self.keep, self.mark, part) for part in parts])


NATS = Naming(MARKS, ".")  # not white space, ".", "*", ">"; an empty token reaches nobody, without an error
MQTT = Naming(MARKS.replace("/", "").replace("+", ""), "/")  # a first level with "$" would be no ordinary one
AMQP = Naming(MARKS, ".")
KAFKA = Naming("_", ".", mark="-")  # a topic takes letters, digits, ".", "_" and "-"
KAFKA_KEY = Naming(MARKS.replace(":", ""), ":")
REDIS = Naming(MARKS.replace(":", ""), ":")
INFLUX = Naming(MARKS.replace("=", "").replace(",", "") + ".#$*", ",")  # a tag's value, of which nothing is escaped
ZMQ = Naming(MARKS.replace(":", ""), ":")


def topic_parts(record: Record) -> tuple[str, str | None, str | None]:
    """The topic of a record: its channel, exchange and symbol.

    A gap, or the health, of one channel is in the topic that it is about; a record about several channels has its type
    in place of a channel, like `summary`. The symbol is the unified one, or while that is not known the exchange's own;
    it is null on what is about a whole exchange.
    """
    symbol = record.raw_symbol if record.symbol is None else record.symbol
    return channel_of(record) or str(record.__struct_config__.tag), record.exchange, symbol


def _part(keep: str, mark: str, text: str | None) -> str:
    if not text:
        return (NULL if text is None else EMPTY).replace("%", mark)
    return "".join(
        [each if each in keep or (each.isascii() and each.isalnum()) else _code(each, mark) for each in text]
    )


def _code(character: str, mark: str) -> str:
    return "".join([f"{mark}{byte:02X}" for byte in character.encode("utf-8", "surrogatepass")])


class Places:
    """The place of each record at a target, remembered: a stream has few topics and many records."""

    def __init__(self, naming: Naming, prefix: str = "", *, by_symbol: bool = True) -> None:
        """Name places by channel, exchange and symbol, behind a prefix; or all symbols of an exchange alike."""
        self._naming = naming
        self._prefix = prefix
        self._by_symbol = by_symbol
        self._known: dict[tuple[object, ...], str] = {}

    def of(self, records: Sequence[Record]) -> list[str]:
        """The place of each of these records."""
        if not self._by_symbol and self._are_alike(records):
            return self._named(records[:1]) * len(records)
        return self._named(records)

    @staticmethod
    def _are_alike(records: Sequence[Record]) -> bool:
        """Tell whether all are of one type and exchange, as mostly where one connection brought them."""
        kind, exchange = type(records[0]), records[0].exchange
        others = [r for r in records if type(r) is not kind or r.exchange is not exchange]  # hot: faster than `all`
        return kind not in TOLD_BY_CHANNEL and all(type(r) is kind and r.exchange == exchange for r in others)

    def _named(self, records: Sequence[Record]) -> list[str]:
        keys = topic_keys(records)
        try:
            return [self._known[key] for key in keys]
        except KeyError:
            if len(self._known) > MOST_PLACES:
                self._known.clear()
            self._known |= {key: self._name(record) for key, record in zip(keys, records, strict=True)}
            return [self._known[key] for key in keys]

    def _name(self, record: Record) -> str:
        channel, exchange, symbol = topic_parts(record)
        parts = (channel, exchange, symbol) if self._by_symbol else (channel, exchange)
        return self._prefix + self._naming.join(*parts)
