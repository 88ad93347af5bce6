"""Captures as a whole: what is read of their files, and the answers that may stand in for others."""

from pathlib import Path

import pytest

from aggregator.capture.speakers import _borrowed
from aggregator.capture.tape import Tape, load
from aggregator.catalog.registry import load_exchange
from aggregator.errors import BadFrame


def test_a_capture_with_rest_answers_of_no_address_is_read(tmp_path: Path) -> None:
    (tmp_path / "ws-1.jsonl").write_text('{"ts":"1","dir":"in","raw":"{}","url":"wss://a.example/ws"}\n')
    (tmp_path / "rest.jsonl").write_text('{"ts":null,"method":null,"url":null,"status":null,"raw":"{}"}\n')
    tape = load((tmp_path / "ws-1.jsonl",))
    assert [recorded.url for recorded in tape.connections] == ["wss://a.example/ws"]


@pytest.mark.parametrize("url", ["wss://[a.example/ws", "wss://a.example:no/ws"])
def test_a_line_whose_address_is_none_is_named(tmp_path: Path, url: str) -> None:
    path = tmp_path / "ws-1.jsonl"
    path.write_text(
        '{"ts":"1","dir":"in","raw":"{}","url":"wss://a.example/ws"}\n'
        f'{{"ts":"1","dir":"in","raw":"{{}}","url":"{url}","conn":"2"}}\n'
    )
    with pytest.raises(BadFrame, match=r"ws-1.jsonl:2: .* is no address"):
        load((path,))


def test_what_completes_a_listing_is_read_from_the_folder_of_its_exchange() -> None:
    """Where the tape has it, but not at which address; an answer to something else is left alone."""
    exchange = load_exchange("whitebit")
    assert exchange is not None
    listing = b'[{"name":"A_PERP","stock":"A","money":"PERP","stockPrec":"3","moneyPrec":"2","type":"futures"}]'
    details = b'{"result":[{"ticker_id":"A_PERP","funding_interval_minutes":240}]}'
    tape = Tape(bodies={"whitebit": [b'{"result":[]}', details, listing]})
    asked = [request.url for request in exchange.listing.all_requests]
    assert dict(_borrowed(exchange, tape)) == dict(zip(asked, (listing, details), strict=True))
    tape.answers[asked[1]] = (200, details)
    assert dict(_borrowed(exchange, tape)) == {asked[0]: listing}
