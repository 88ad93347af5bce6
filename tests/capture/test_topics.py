"""The topics that a capture is about: they are told by the records that its frames and answers give."""

import json
from pathlib import Path

from aggregator.capture.topics import spoken_of
from aggregator.catalog.registry import load_exchange
from tests.support.toy import REST, toy

FRAMES = Path(__file__).parents[1] / "frames"


def test_a_polled_answer_is_of_a_listed_instrument_where_its_address_does_not_tell_which() -> None:
    """The name is in the request's body, or in parts of the address."""
    for id, name in (("cex", "BTC-USD"), ("independentreserve", "Xbt-Aud")):
        exchange = load_exchange(id)
        assert exchange is not None
        cases = list(map(json.loads, (FRAMES / f"{id}.jsonl").read_text().splitlines()))
        listing = next(case["body"] for case in cases if case.get("rest") == "listing")
        trades = next(case["body"] for case in cases if case.get("name") == "trades")
        poll = next(poll for poll in exchange.polls if poll.name == "trades")
        answers = {exchange.listing.requests[0].url: listing.encode(), poll.request(name).url: trades.encode()}
        channels, symbols = spoken_of(exchange, (), answers)
        assert (set(channels), set(symbols)) == ({"trades"}, {name})


def test_a_polled_answer_is_of_an_instrument_that_is_listed_without_asking() -> None:
    exchange = load_exchange("paymium")
    assert exchange is not None
    poll = exchange.polls[0]
    name = exchange.listing.fixed[0].raw_symbol or ""
    cases = list(map(json.loads, (FRAMES / "paymium.jsonl").read_text().splitlines()))
    body = next(case["body"] for case in cases if case.get("name") == poll.name)
    assert set(spoken_of(exchange, (), {poll.request(name).url: body.encode()})[1]) == {name}


def test_records_are_counted_by_channel_and_symbol_and_what_cannot_be_read_is_passed_over() -> None:
    frames = [
        b'{"s":"A","n":1,"bid":"1"}',
        b'{"s":"A","n":1,"price":"2"}',
        b"{",
        b'{"ack":1}',
        b'{"s":"B","n":2,"price":"3"}',
    ]
    channels, symbols = spoken_of(
        toy(), [("wss://toy.example/ws", frames)], {f"{REST}/poll/C": b"4", f"{REST}/else": b"5"}
    )
    assert channels == {"book": 1, "trades": 3}  # the poll's answers are trades here
    assert symbols == {"A": 2, "B": 1, "C": 1}
