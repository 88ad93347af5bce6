"""Kraken's futures: what its alerts refuse, and the day on which its unified address takes over."""

import json
from pathlib import Path
from zlib import crc32

import pytest
from click.testing import CliRunner

from aggregator.cli.normalize import command
from aggregator.exchange import Subscription
from aggregator.records import Gap, Health, Instrument
from aggregator.session.moment import Now
from aggregator.session.session import Session
from connectors.krakenfutures import EXCHANGE

OLD, UNIFIED = EXCHANGE.streams
NOW = Now(1_790_000_000_000_000_000, 0)
OLD_TRADE = (
    '{"feed":"trade","product_id":"PF_AAAUSD","uid":"1","side":"sell","type":"fill","seq":1,"time":1790000000000,'
    '"qty":0.5,"price":10}'
)
UNIFIED_TRADE = (
    '{"channel":"trade","type":"update","data":[{"symbol":"PF_AAAUSD","side":"sell","price":10,"qty":0.5,'
    '"trade_id":1,"timestamp":"2027-03-01T10:00:00Z"}]}'
)
BOTH = [Subscription(channel, name) for name in ("PF_AAAUSD", "PF_NOPEUSD") for channel in ("trades", "book")]
AAA = Instrument(raw_symbol="PF_AAAUSD", base="AAA", quote="USD", tick_size="0.5", lot_size="0.001")


def alert(message: str) -> bytes:
    return json.dumps({"event": "alert", "message": message}).encode()


def opened() -> Session:
    session = Session("krakenfutures", OLD, conn="main#1", instruments={}, subscriptions=BOTH)
    session.open(NOW)
    return session


def test_an_alert_names_in_words_the_product_that_there_is_not() -> None:
    session = opened()
    said = session.receive([alert("Couldn't subscribe to invalid product `PF_NOPEUSD`")], NOW)
    refused = {(refused.channel, refused.raw_symbol, refused.meaning) for refused in session.refusals}
    assert refused == {("trades", "PF_NOPEUSD", "final"), ("book", "PF_NOPEUSD", "final")}
    assert [(r.channel, r.state) for r in said if isinstance(r, Health)] == [("trades", "down"), ("book", "down")]


def test_an_alert_of_what_is_subscribed_to_already_refuses_nothing() -> None:
    session = opened()
    assert session.receive([alert("Already subscribed to feed, re-requesting")], NOW) == []
    assert not session.refusals


def test_the_unified_address_takes_over_on_the_day_that_is_announced() -> None:
    assert [feed.name for feed in EXCHANGE.feeds_on("2027-02-28")] == ["main"]
    assert [feed.name for feed in EXCHANGE.feeds_on("2027-03-01")] == ["unified"]
    assert any("2027-03-01" in announced for announced in EXCHANGE.announced)


def test_every_request_to_the_unified_address_names_the_class() -> None:
    wanted = [Subscription(channel, name) for channel in UNIFIED.channels for name in ("PF_AAAUSD", "PI_XBTUSD")]
    assert UNIFIED.unsubscribe is not None
    for ask in (UNIFIED.subscribe, UNIFIED.unsubscribe):
        asked = [json.loads(frame)["params"] for frame in ask(wanted, 3)]
        assert {params["channel"]: params["symbol"] for params in asked} == {
            channel: ["PF_AAAUSD", "PI_XBTUSD"] for channel in ("trade", "book", "ticker")
        }
        assert {params["asset_class"] for params in asked} == {"derivatives"}


def book(kind: str, bids: list[tuple[str, str]], asks: list[tuple[str, str]], checksum: int) -> bytes:
    bid, ask = (",".join(f'{{"price":{price},"qty":{size}}}' for price, size in side) for side in (bids, asks))
    row = f'{{"symbol":"PF_AAAUSD","bids":[{bid}],"asks":[{ask}],"checksum":{checksum}}}'
    return f'{{"channel":"book","type":"{kind}","data":[{row}]}}'.encode()


def test_the_checksum_guards_a_book_of_the_unified_address() -> None:
    """As for spot: the digits of the best asks, then of the bids, with as many decimals as the product has."""
    session = Session(
        "krakenfutures",
        UNIFIED,
        conn="unified#1",
        instruments={"PF_AAAUSD": AAA},
        subscriptions=[Subscription("book", "PF_AAAUSD")],
    )
    session.open(NOW)
    whole = book("snapshot", [("10.5", "2")], [("11", "0.25")], crc32(b"110250" + b"1052000"))
    changed = book("update", [("10", "1")], [], crc32(b"110250" + b"1052000" + b"1001000"))
    assert not [r for r in session.receive([whole, changed], NOW) if isinstance(r, Gap)]
    wrong = book("update", [("9.5", "1")], [], 1)
    assert [r.cause for r in session.receive([wrong], NOW) if isinstance(r, Gap)] == ["checksum"]


@pytest.mark.parametrize(
    ("url", "frame"),
    [
        ("wss://futures.kraken.com/ws/v1", OLD_TRADE),
        ("wss://uws.kraken.com/v2/public", UNIFIED_TRADE),
    ],
)
@pytest.mark.parametrize("is_named", [False, True])
def test_captures_of_both_addresses_are_read_on_any_day(url: str, frame: str, is_named: bool, tmp_path: Path) -> None:
    capture = tmp_path / "capture.jsonl"
    capture.write_text(json.dumps({"ts": 1_790_000_000, "dir": "in", "url": url, "raw": frame}) + "\n")
    stream = ["--stream", "main" if url == OLD.url else "unified"] if is_named else []
    told = CliRunner().invoke(command, ["--exchange", "krakenfutures", *stream, str(capture)])
    assert told.exit_code == 0
    [trade] = [json.loads(line) for line in told.stdout.splitlines()]
    assert (trade["raw_symbol"], trade["size"], trade["size_unit"]) == ("PF_AAAUSD", "0.5", "contract")
