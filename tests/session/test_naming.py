"""Topics that an exchange knows by another name: asked for, confirmed, refused and told by it, and nobody sees it."""

from collections.abc import Iterable, Sequence

from msgspec import structs

from aggregator.exchange import Accepted, Event, Refused, Stream, Subscription
from aggregator.records import IndexPrice, Instrument, Trade
from aggregator.session.naming import spoken

KNOWN = {
    "A-PERP": Instrument(raw_symbol="A-PERP", index="A"),
    "A2-PERP": Instrument(raw_symbol="A2-PERP", index="A"),
    "B-PERP": Instrument(raw_symbol="B-PERP"),
}


def ask(wanted: Sequence[Subscription], _: int) -> Iterable[bytes]:
    return [f"{s.channel} {s.raw_symbol}".encode() for s in wanted]


def parse(frame: bytes) -> Iterable[Event]:
    name = frame.decode()
    return [
        Accepted(channel="index_price", raw_symbol=name),
        IndexPrice(raw_symbol=name, price="1"),
        Refused("no", channel="index_price", raw_symbol=name),
        Trade(raw_symbol=name, price="1", size="1"),
    ]


STREAM = Stream(
    url="wss://example.com",
    channels={"index_price": "index", "trades": "trades"},
    named={"index_price": lambda instrument: instrument.index},
    subscribe=ask,
    unsubscribe=ask,
    parse=parse,
)


def about(events: Iterable[Event]) -> list[tuple[str, str | None]]:
    return [(type(e).__name__, e.raw_symbol) for e in events if isinstance(e, Accepted | Refused | IndexPrice | Trade)]


def test_a_topic_is_asked_for_and_left_by_its_name_and_others_by_the_symbol() -> None:
    stream = spoken(STREAM, KNOWN)
    wanted = [
        Subscription("index_price", "A-PERP"),
        Subscription("index_price", "B-PERP"),
        Subscription("trades", "A-PERP"),
    ]
    named = [b"index_price A", b"index_price B-PERP", b"trades A-PERP"]
    assert list(stream.subscribe(wanted, 1)) == named
    assert stream.unsubscribe is not None
    assert list(stream.unsubscribe(wanted, 2)) == named


def test_what_is_said_of_a_name_is_said_of_each_that_was_asked_for() -> None:
    stream = spoken(STREAM, KNOWN)
    stream.subscribe([Subscription("index_price", "A-PERP")], 1)
    said = about(stream.reader()(b"A"))
    assert said == [("Accepted", "A-PERP"), ("IndexPrice", "A-PERP"), ("Refused", "A-PERP"), ("Trade", "A")]


def test_where_nothing_was_asked_for_it_is_said_of_all_that_are_known() -> None:
    read = spoken(STREAM, KNOWN).reader()
    assert [name for kind, name in about(read(b"A")) if kind == "IndexPrice"] == ["A-PERP", "A2-PERP"]
    assert [name for kind, name in about(read(b"NEW")) if kind == "IndexPrice"] == ["NEW"]


def test_a_stream_without_names_is_left_as_it_is() -> None:
    plain = Stream(url="wss://example.com", channels={"trades": "trades"}, subscribe=ask, parse=parse)
    assert spoken(plain, KNOWN) is plain


def test_what_has_one_name_is_asked_for_once() -> None:
    """By its name of the exchange, where it has one; and what is said of it is said of each that was asked for."""
    stream = spoken(structs.replace(STREAM, topic=lambda s: (s.channel, s.raw_symbol)), KNOWN)
    both = [Subscription("index_price", "A-PERP"), Subscription("index_price", "A2-PERP")]
    assert list(stream.subscribe([*both, Subscription("trades", "A-PERP")], 1)) == [b"index_price A", b"trades A-PERP"]
    assert stream.unsubscribe is not None
    assert list(stream.unsubscribe(both, 2)) == [b"index_price A"]
    assert [name for kind, name in about(stream.reader()(b"A")) if kind == "IndexPrice"] == ["A-PERP", "A2-PERP"]
    assert stream.topic is not None
    assert {stream.topic(s) for s in both} == {("index_price", "A")}
