import asyncio

import pytest
from msgspec import structs

from aggregator.errors import SessionError
from aggregator.exchange import Address, Budget, Exchange, Limits, Listing, Request, Trouble
from aggregator.ingest.budget import SLACK_S, STRETCH
from aggregator.ingest.lines import LARGEST_FRAME_BYTES, LineListener, retry_after
from aggregator.ingest.network import Answer, Network
from aggregator.ingest.rest import FIRST_PAUSE_S, Hosts, Need, Rest, host_of
from aggregator.session.moment import Now
from aggregator.wire.frames import MOST_ROWS
from tests.support.hurry import hurried, seconds

URL = "https://toy.example/x"


def toy(weights: dict[str, tuple[Budget, ...]] | None = None, **more: object) -> Exchange:
    return Exchange(id="toy", docs="", feeds=(), listing=Listing(), limits=Limits(weights=weights or {}), **more)  # type: ignore[arg-type]


def window(declared: float) -> float:
    """How long a window of so many seconds is here."""
    return round(declared * STRETCH + SLACK_S, 6)


class Host:
    """A host that answers at once, and notes in what order it was asked, and when."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.times: list[float] = []
        self.answers: list[Answer] = []

    async def fetch(self, request: Request) -> Answer:
        self.asked.append(request.url)
        self.times.append(seconds())
        await asyncio.sleep(0)
        return self.answers.pop(0) if self.answers else Answer(200, b"fine", {})

    def network(self) -> Network:
        async def dial(url: Address, _: LineListener) -> object:
            raise AssertionError(url)

        return Network(dial, self.fetch, lambda: Now(0, round(seconds() * 1e9)))  # type: ignore[arg-type]


@hurried
async def test_a_good_answer_is_its_body() -> None:
    assert await Rest(Host().network(), toy()).fetch(Request(URL), Need.POLL) == b"fine"


@pytest.mark.parametrize("status", [301, 404, 500])
@hurried
async def test_other_answers_are_errors_that_name_the_address(status: int) -> None:
    host = Host()
    host.answers = [Answer(status, b"sorry", {})]
    with pytest.raises(SessionError, match=rf"toy.example/x: HTTP {status}: sorry"):
        await Rest(host.network(), toy()).fetch(Request(URL), Need.POLL)


@pytest.mark.parametrize("body", [b" " * (LARGEST_FRAME_BYTES + 1), b"[%s]" % b",".join([b"[1,2,3]"] * MOST_ROWS)])
async def test_only_a_listing_may_be_very_large(body: bytes) -> None:
    async def answer(_: Request) -> Answer:
        return Answer(200, body, {})

    network = structs.replace(Host().network(), fetch=answer)
    assert await Rest(network, toy()).fetch(Request(URL), Need.LISTING) == body
    for need in (Need.SNAPSHOT, Need.BACKFILL, Need.POLL):
        with pytest.raises(SessionError, match="larger, or of more values"):
            await Rest(network, toy()).fetch(Request(URL), need)


@hurried
async def test_the_weight_is_spent_no_faster_than_declared() -> None:
    host = Host()
    rest = Rest(host.network(), toy({"https://toy.example": ((10, 0.5),)}))
    for _ in range(4):
        await rest.fetch(Request(URL, weight=5), Need.POLL)
    assert host.times == [0, 0, window(0.5), window(0.5)]


@hurried
async def test_a_request_heavier_than_the_whole_budget_waits_for_all_of_it() -> None:
    host = Host()
    rest = Rest(host.network(), toy({"https://toy.example": ((2, 0.1),)}))
    await rest.fetch(Request(URL, weight=50), Need.POLL)
    await rest.fetch(Request(URL, weight=50), Need.POLL)
    assert host.times == [0, window(0.1)]


@hurried
async def test_what_is_needed_most_goes_first() -> None:
    host = Host()
    rest = Rest(host.network(), toy({"https://toy.example": ((1, 0.05),)}))
    await rest.fetch(Request(URL), Need.POLL)
    calls = [(Need.POLL, "p1"), (Need.BACKFILL, "b"), (Need.POLL, "p2"), (Need.SNAPSHOT, "s")]
    async with asyncio.TaskGroup() as group:
        for need, name in calls:
            group.create_task(rest.fetch(Request(f"https://toy.example/{name}"), need))
    assert [url[-2:].strip("/") for url in host.asked[1:]] == ["s", "b", "p1", "p2"]


@pytest.mark.parametrize("status", [418, 429])
@hurried
async def test_a_refusal_pauses_the_whole_host_for_as_long_as_it_says(status: int) -> None:
    host = Host()
    host.answers = [Answer(status, b"", {"retry-after": "1"})]
    rest = Rest(host.network(), toy())
    with pytest.raises(SessionError, match="too many requests"):
        await rest.fetch(Request(URL), Need.POLL)
    assert await rest.fetch(Request("https://toy.example/other"), Need.SNAPSHOT) == b"fine"
    assert host.times == [0, 1]
    assert rest.hosts.refused == 1


@hurried
async def test_hosts_do_not_wait_for_each_other() -> None:
    host = Host()
    host.answers = [Answer(429, b"", {"retry-after": "60"})]
    rest = Rest(host.network(), toy())
    with pytest.raises(SessionError):
        await rest.fetch(Request(URL), Need.POLL)
    assert await rest.fetch(Request("https://other.example/x"), Need.POLL) == b"fine"
    assert host.times == [0, 0]


@hurried
async def test_a_caller_that_gives_up_leaves_the_line() -> None:
    host = Host()
    rest = Rest(host.network(), toy({"https://toy.example": ((1, 0.2),)}))
    await rest.fetch(Request(URL), Need.POLL)
    waiting = asyncio.create_task(rest.fetch(Request(URL), Need.SNAPSHOT))
    await asyncio.sleep(0.01)
    waiting.cancel()
    assert await rest.fetch(Request(URL), Need.POLL) == b"fine"
    assert host.times == [0, window(0.2)]


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("7200", 7200.0),
        ("0.5", 0.5),
        ("Wed, 21 Oct 2015 07:28:30 GMT", 30.0),
        ("Wed, 21 Oct 2015 07:27:30 GMT", 0.0),
        ("", None),
        ("soon", None),
        ("-1", None),
        ("inf", None),
        ("nan", None),
    ],
)
def test_a_host_says_for_how_long_it_wants_rest(said: str, seconds: float | None) -> None:
    assert retry_after(said, 1_445_412_480 * 10**9) == seconds


async def test_a_host_that_was_asked_too_much_is_asked_no_more_by_anybody() -> None:
    host, hosts = Host(), Hosts()
    host.answers = [Answer(418, b"banned", {"retry-after": "7200"})]
    first, other = Rest(host.network(), toy(), hosts), Rest(host.network(), toy(), hosts)
    with pytest.raises(SessionError, match="too many requests: HTTP 418: banned") as told:
        await first.fetch(Request(URL), Need.LISTING)
    assert told.value.wait == 7200
    with pytest.raises(SessionError, match="not asked for: the host wants rest for 7200 s: HTTP 418: banned"):
        await other.fetch(Request(URL), Need.SNAPSHOT)
    assert host.asked == [URL]
    assert await other.fetch(Request("https://other.example/x"), Need.POLL) == b"fine"


async def test_an_error_by_its_body_is_an_error_in_the_exchanges_words() -> None:
    host = Host()
    host.answers = [Answer(200, b"sorry", {})]
    rest = Rest(host.network(), toy(trouble=lambda _, __, body: Trouble(body.decode())))
    with pytest.raises(SessionError, match=r"toy\.example/x: sorry"):
        await rest.fetch(Request(URL), Need.POLL)


async def test_a_time_at_which_a_ban_ends_is_a_wait_until_then_unless_a_header_says_how_long() -> None:
    host = Host()  # its wall clock stands at 0
    host.answers = [Answer(418, b"banned", {})]
    until = toy(trouble=lambda _, __, body: Trouble(body.decode(), is_busy=True, until=7200 * 10**9))
    with pytest.raises(SessionError) as told:
        await Rest(host.network(), until).fetch(Request(URL), Need.POLL)
    assert told.value.wait == 7200
    host.answers = [Answer(418, b"banned", {"retry-after": "90"})]
    with pytest.raises(SessionError) as told:
        await Rest(host.network(), until).fetch(Request(URL), Need.POLL)
    assert told.value.wait == 90


@hurried
async def test_refusals_of_what_was_asked_before_a_pause_do_not_lengthen_it() -> None:
    host = Host()
    host.answers = [Answer(429, b"", {})] * 4
    rest = Rest(host.network(), toy())
    calls = [rest.fetch(Request(f"{URL}/{n}"), Need.POLL) for n in range(4)]
    assert all(isinstance(said, SessionError) for said in await asyncio.gather(*calls, return_exceptions=True))
    assert await rest.fetch(Request(URL), Need.POLL) == b"fine"
    assert host.times == [0, 0, 0, 0, FIRST_PAUSE_S]
    assert rest.hosts.refused == 4


@hurried
async def test_a_ban_by_rest_is_one_for_new_connections_to_the_host_too() -> None:
    host, hosts = Host(), Hosts()
    host.answers = [Answer(418, b"banned", {"retry-after": "7200"})]
    with pytest.raises(SessionError):
        await Rest(host.network(), toy(), hosts).fetch(Request(URL), Need.LISTING)
    assert host_of("wss://toy.example:9443/ws") == host_of(URL)
    assert hosts.rest_of(host_of("wss://toy.example:9443/ws"), 0) == (7200.0, "HTTP 418: banned")


@hurried
async def test_a_wait_that_is_over_already_is_a_pause_of_our_own_and_no_leave_to_ask_at_once() -> None:
    """Gate's header names the present, to the second; a date may be the past by our clock."""
    host = Host()
    host.answers = [Answer(429, b"", {"retry-after": said}) for said in ("0", "Thu, 01 Jan 1970 00:00:00 GMT")]
    rest = Rest(host.network(), toy())
    for _ in range(2):
        with pytest.raises(SessionError):
            await rest.fetch(Request(URL), Need.POLL)
    assert await rest.fetch(Request(URL), Need.POLL) == b"fine"
    assert host.times == [0, FIRST_PAUSE_S, 3 * FIRST_PAUSE_S]
