"""Bitfinex: what frames mean that come after each other, and the checksum of a book."""

from zlib import crc32

import pytest

from aggregator.book import OrderBook
from aggregator.exchange import Subscription
from aggregator.records import BookDelta, Gap, Health, Record
from aggregator.session.moment import Now
from aggregator.session.session import Session
from connectors.bitfinex import EXCHANGE
from connectors.bitfinex.frames import checksum

SECOND = 10**9
START = 1_795_168_800 * SECOND
SUBSCRIBED = (
    b'{"event":"subscribed","channel":"book","chanId":5,"symbol":"tABCUSD","prec":"P0","freq":"F0","len":"250"}'
)
WHOLE = b"[5,[[1.5,1,2e-7],[1.4,2,30],[1.6,1,-0.000001]],1,1795168800000]"


def signed(text: str) -> int:
    number = crc32(text.encode())
    return number - 2**32 if number >= 2**31 else number


def opened() -> Session:
    wanted = [Subscription("book", "tABCUSD"), Subscription("bbo", "tABCUSD"), Subscription("ticker", "tABCUSD")]
    session = Session("bitfinex", EXCHANGE.streams[0], conn="spot#1", instruments={}, subscriptions=wanted)
    session.open(Now(START, 0))
    return session


def heard(session: Session, *frames: bytes) -> list[Record]:
    """The deltas that come of frames after a whole book."""
    out: list[Record] = []
    for at, frame in enumerate((SUBSCRIBED, WHOLE, *frames), 1):
        out += session.receive([frame], Now(START + at * SECOND, at * SECOND))
    return [record for record in out if isinstance(record, BookDelta | Gap)]


def test_topics_that_share_a_channel_are_asked_for_once_after_the_flags() -> None:
    assert list(opened().outbox) == [
        b'{"event":"conf","flags":229376}',
        b'{"event":"subscribe","channel":"book","symbol":"tABCUSD","prec":"P0","freq":"F0","len":"250"}',
        b'{"event":"subscribe","channel":"ticker","symbol":"tABCUSD"}',
    ]


@pytest.mark.parametrize(
    ("bids", "asks", "said"),
    [
        ([("1.5", "2"), ("1.4", "30")], [("1.6", "0.5")], "1.5:2:1.6:-0.5:1.4:30"),
        (
            [("1.5", "0.0000002")],
            [("1.6", "0.00000123"), ("1.7", "0.00000012")],
            "1.5:2e-7:1.6:-0.00000123:1.7:-1.2e-7",
        ),
        ([("0.00000099", "1")], [("0.000001", "1")], "9.9e-7:1:0.000001:-1"),
        ([], [("7", "1")], "7:-1"),
        ([(str(100 - n), "1") for n in range(30)], [], ":".join(f"{100 - n}:1" for n in range(25))),
    ],
)
def test_a_checksum_takes_bids_and_offers_in_turn_as_javascript_writes_them(
    bids: list[tuple[str, str]], asks: list[tuple[str, str]], said: str
) -> None:
    assert checksum(OrderBook(bids, asks), None) == signed(said)


def test_a_checksum_that_is_right_passes() -> None:
    right = signed("1.5:2e-7:1.6:-0.000001:1.3:5")
    session = opened()
    found = heard(session, b"[5,[1.4,0,1],2]", b"[5,[1.3,1,5],3]", b'[5,"cs",%d,4]' % right)
    assert [(type(r), r.sequence, r.sequence_prev) for r in found] == [
        (BookDelta, 2, 1),
        (BookDelta, 3, 2),
        (BookDelta, 4, 3),
    ]
    session.tick(Now(START + 9 * SECOND, 9 * SECOND))


@pytest.mark.parametrize(
    "frames",
    [
        pytest.param((b'[5,"cs",1,2]',), id="a checksum that is wrong"),
        pytest.param((b'[6,"hb",3]', b"[5,[1.4,0,1],4]"), id="a frame that is missing, whatever it was about"),
        pytest.param((b"[5,[1.4,0],2]", b"[5,[1.4,0,1],3]"), id="a frame that cannot be read"),
    ],
)
def test_a_book_in_doubt_asks_for_a_new_connection(frames: tuple[bytes, ...]) -> None:
    session = opened()
    records = heard(session, *frames)
    assert [record.phase for record in records if isinstance(record, Gap) and record.channel == "book"] == ["open"]
    assert str(session.reconnect_reason).startswith("book of tABCUSD must be asked for again")


def test_an_answer_confirms_all_channels_of_its_topic() -> None:
    session = opened()
    answer = b'{"event":"subscribed","channel":"ticker","chanId":6,"symbol":"tABCUSD","pair":"ABCUSD"}'
    out = session.receive([answer], Now(START, 1))
    assert {(r.channel, r.state) for r in out if isinstance(r, Health)} == {("bbo", "syncing"), ("ticker", "syncing")}
