"""Reading captures: which stream a frame is of, where its line does not say."""

import msgspec

from aggregator.exchange import Event, Parse, Stream
from aggregator.records import Trade
from aggregator.replay import CaptureLine, ParseOnly
from tests.toy import toy


def counting() -> Parse:
    """A parser with a memory: it numbers the frames that it has heard."""
    heard = 0

    def parse(_: bytes) -> tuple[Event, ...]:
        nonlocal heard
        heard += 1
        return (Trade(raw_symbol="A", price="1", size="1", sequence=heard),)

    return parse


def test_a_parser_with_a_memory_hears_each_frame_once() -> None:
    stream = toy().feeds[0]
    assert isinstance(stream, Stream)
    feeds = tuple(
        msgspec.structs.replace(stream, name=name, url=url, parse=None, parser=counting)
        for name, url in (("one", "wss://one.example/a"), ("two", "wss://two.example/b"))
    )
    reader = ParseOnly(msgspec.structs.replace(toy(), feeds=feeds), [], None)
    lines = [CaptureLine(ts="1700000000", dir="in", raw="{}") for _ in range(3)]
    assert [record.sequence for line in lines for record in reader.feed(line) if isinstance(record, Trade)] == [1, 2, 3]
