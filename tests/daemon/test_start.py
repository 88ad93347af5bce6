"""A daemon whose exchange cannot be started tries again, and leaves nothing behind; what it kept stands in."""

import asyncio
from pathlib import Path

import msgspec
import pytest
from aiohttp import web
from msgspec import Raw, structs

from aggregator.config.config import Config, ExchangeConfig
from aggregator.daemon import running_exchanges
from aggregator.daemon.daemon import Daemon
from aggregator.daemon.relisting import Listings
from aggregator.daemon.shared_listings import BorrowedListings, LentListings
from aggregator.daemon.words import AskListing, FromWorker, ListingRead
from aggregator.errors import SessionError
from aggregator.exchange import Details, Listing, Request
from aggregator.ingest.lines import read_clocks
from aggregator.ingest.network import Answer, Network
from aggregator.records import Instrument
from tests.support.toy import REST, toy

pytestmark = pytest.mark.waits

FAILURES = 100
PATIENCE_S = 20.0  # nothing here takes nearly as long


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_a_start_that_fails_again_and_again_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, counts, done = 0, [], asyncio.Event()

    async def listing(_: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        counts.append((len(asyncio.all_tasks()), descriptors()))
        if asked == FAILURES:
            done.set()
        return web.Response(status=503, text="maintenance")

    app = web.Application()
    app.router.add_get("/{tail:.*}", listing)
    site = web.AppRunner(app, shutdown_timeout=0.1)
    await site.setup()
    await web.TCPSite(site, "127.0.0.1", 0).start()
    exchange = structs.replace(toy(), listing=Listing((Request(f"{REST}/markets"),)))
    monkeypatch.setattr(running_exchanges, "load_exchange", lambda _: exchange)
    monkeypatch.setattr(running_exchanges, "RETRY_LISTING_S", 0.001)
    monkeypatch.setattr(running_exchanges, "LONGEST_RETRY_S", 0.001)
    endpoints = {REST: f"http://127.0.0.1:{site.addresses[0][1]}"}
    wanted = ExchangeConfig(id="toy", channels=("trades",), symbols=("*",), endpoints=endpoints)
    config = Config(exchanges=(wanted,), sinks=(), state=tmp_path, log_level="error")
    running = Daemon(config, capture=tmp_path / "captures")
    task = asyncio.create_task(running.run())
    await done.wait()
    running.stop()
    await task
    await site.cleanup()
    tasks, files = zip(*counts[5:], strict=True)
    assert max(tasks) - min(tasks) <= 2
    assert max(files) - min(files) <= 2


async def test_what_was_kept_completes_a_listing_whose_details_do_not_answer(tmp_path: Path) -> None:
    """Of the same instruments: what the listing itself says of them is the newest."""
    market, rates = Request(f"{REST}/markets"), Request(f"{REST}/rates")
    listing = Listing((market,), rows, read_market, details=(Details(rates, rows, read_rate),))
    exchange = structs.replace(toy(), listing=listing)
    listings = Listings(tmp_path)
    rest = Fetches({market.url: b'["0.1"]', rates.url: b"[8]"})
    (first,) = (await listings.first(exchange, rest, 10)).instruments  # type: ignore[arg-type]
    rest = Fetches({market.url: b'["0.2"]'})
    (second,) = (await listings.first(exchange, rest, 10)).instruments  # type: ignore[arg-type]
    assert (first.tick_size, first.funding_interval_s) == ("0.1", 28800)
    assert (second.tick_size, second.funding_interval_s) == ("0.2", 28800)


async def test_what_a_listing_lacks_is_said_once_and_once_that_it_is_whole_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither the words of the answers nor rows that cannot be read are told again with each listing."""
    caplog.set_level("INFO", "aggregator.daemon")
    spot, swaps = Request(f"{REST}/spot"), Request(f"{REST}/swaps")
    exchange = structs.replace(toy(), listing=Listing((spot, swaps), rows, read_market))
    listings, whole = Listings(tmp_path), {spot.url: b'["0.1",7]', swaps.url: b"[]"}

    async def said(bodies: dict[str, bytes], words: str = "") -> list[str]:
        caplog.clear()
        await listings.fetch(exchange, Fetches(bodies, words), 10)  # type: ignore[arg-type]
        return [record.getMessage()[:41] for record in caplog.records]

    skipped, missing = "toy: skipped an instrument: Expected `str", "toy: a part of the listing is missing: ht"
    assert await said(whole) == [skipped]
    assert await said({spot.url: whole[spot.url]}, "ray 1") == [missing]
    assert await said({spot.url: whole[spot.url]}, "ray 2") == []
    assert await said(whole) == ["toy: the listing is whole again"]
    assert await said(whole) == []
    assert await said({spot.url: whole[spot.url]}) == [missing]


async def test_the_listing_that_one_worker_had_is_that_of_the_others(tmp_path: Path) -> None:
    """The exchange is asked once, and a market that is gone is gone for all at the same time."""
    spot = Request(f"{REST}/spot")
    exchange = structs.replace(toy(), listing=Listing((spot,), rows, read_market))
    hub = LentListings()
    workers = [_worker(hub, tmp_path, number) for number in range(2)]
    rests = [Fetches({spot.url: b'["0.1",7]'}) for _ in workers]
    both = await asyncio.gather(
        *(
            each.first(exchange, rest, 10, is_shared=True)  # type: ignore[arg-type]
            for each, rest in zip(workers, rests, strict=True)
        )
    )
    assert both[0].instruments == both[1].instruments
    assert sorted(rest.asked for rest in rests) == [0, 1]
    listed = [
        await each.fetch(exchange, rest, 10, is_shared=True)  # type: ignore[arg-type]
        for each, rest in zip(workers, rests, strict=True)
    ]
    assert sorted(rest.asked for rest in rests) == [0, 2]
    assert listed[0].answered == listed[1].answered == {0}
    assert (tmp_path / "toy.json").exists()


async def test_what_a_dead_process_had_listed_is_in_force_until_it_would_have_asked_again(tmp_path: Path) -> None:
    """Its successor needs the requests that a host allows for what was missed, and a listing is one of them."""
    spot = Request(f"{REST}/spot")
    exchange = structs.replace(toy(), listing=Listing((spot,), rows, read_market))
    listings, rest = Listings(tmp_path), Fetches({spot.url: b'["0.1"]'})

    async def asks(relist: float | None, *, inherits: bool = True) -> bool:
        listings.inherited.update({"toy"} if inherits else ())
        before = rest.asked
        (market,) = (await listings.first(exchange, rest, 10, relist=relist)).instruments  # type: ignore[arg-type]
        assert market.tick_size == "0.1"
        return rest.asked > before

    assert await asks(900.0), "nobody has kept anything"
    assert not await asks(900.0)
    assert await asks(900.0, inherits=False), "it is taken once, by whoever is to go on with it"
    assert await asks(0.0), "it would have been asked for again by now"
    assert await asks(None), "it is asked for at each start, and never again"


def _worker(hub: LentListings, directory: Path, number: int) -> Listings:
    def say(word: FromWorker) -> None:
        if isinstance(word, AskListing):
            hub.ask(number, word, turns.heard)  # type: ignore[arg-type]
        elif isinstance(word, ListingRead):
            hub.told(number, word)

    listings, turns = Listings(directory), BorrowedListings(say)
    listings.turns = turns
    return listings


rows = msgspec.json.Decoder(list[Raw]).decode


def read_market(row: Raw) -> Instrument:
    return Instrument(raw_symbol="A", base="A", quote="USD", tick_size=msgspec.json.decode(row, type=str))


def read_rate(row: Raw) -> Instrument:
    return Instrument(raw_symbol="A", funding_interval_s=msgspec.json.decode(row, type=int) * 3600)


class Fetches:
    """What is answered to which address; to any other, nothing."""

    def __init__(self, bodies: dict[str, bytes], words: str = "") -> None:
        self._bodies = bodies
        self._words = words
        self.asked = 0

    async def fetch(self, request: Request, _: object) -> bytes:
        if request.url not in self._bodies:
            raise SessionError(f"{request.url}: HTTP 500: {self._words}")
        self.asked += 1
        return self._bodies[request.url]


async def test_a_capture_that_cannot_be_begun_is_said_and_costs_nothing_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    wanted = ExchangeConfig(id="toy", channels=("trades",), symbols=("*",), endpoints={})
    config = Config(exchanges=(wanted,), sinks=(), state=tmp_path, log_level="error")
    prepared = Daemon(config, capture=tmp_path / "file" / "captures")
    assert (await prepared.exchanges._network(wanted, toy()))[0].now().wall
    assert "toy: gathered without a capture, which cannot be begun" in caplog.text


async def test_two_captures_of_one_second_have_a_file_each(tmp_path: Path) -> None:
    wanted = ExchangeConfig(id="toy", channels=("trades",), symbols=("*",), endpoints={})
    config = Config(exchanges=(wanted,), sinks=(), state=tmp_path, log_level="error")
    first, second = (Daemon(config, capture=tmp_path / "captures") for _ in range(2))
    for each in (first, second):
        await each.exchanges._network(wanted, toy())
        each.reopen()
    for each in (first, second):
        for recorder in each.exchanges.recorders.values():
            recorder.close()
    assert len(list((tmp_path / "captures").iterdir())) == 4


async def test_the_words_of_an_exchange_that_is_asked_too_much_stand_once_in_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def refused(_: Request) -> Answer:
        return Answer(429, b"slow down, please", {"retry-after": "60"})

    exchange = structs.replace(toy(), listing=Listing((Request(f"{REST}/markets"),)))
    network = Network(None, refused, read_clocks)  # type: ignore[arg-type]

    async def networked(*_: object) -> tuple[Network, None]:
        return network, None

    monkeypatch.setattr(running_exchanges, "load_exchange", lambda _: exchange)
    monkeypatch.setattr(running_exchanges.RunningExchanges, "_network", networked)
    wanted = ExchangeConfig(id="toy", channels=("trades",), symbols=("*",), endpoints={})
    config = Config(exchanges=(wanted,), sinks=(), state=tmp_path, log_level="error")
    task = asyncio.create_task(Daemon(config).exchanges._keep(wanted))
    async with asyncio.timeout(PATIENCE_S):
        while not caplog.records:  # noqa: ASYNC110 - the log has no event
            await asyncio.sleep(0.01)
    task.cancel()
    assert "too many requests; again in 60 s" in caplog.text
    assert caplog.text.count("slow down, please") == 1


@pytest.mark.parametrize(
    ("error", "is_ours"),
    [
        (OSError(24, "Too many open files"), False),
        (RuntimeError("can't start new thread"), False),
        (MemoryError(), False),
        (ExceptionGroup("some", [OSError(24, "Too many open files"), MemoryError()]), False),
        (RuntimeError("odd"), True),
        (ExceptionGroup("some", [OSError(24, "Too many open files"), KeyError("odd")]), True),
    ],
)
async def test_what_the_machine_lacks_is_said_without_a_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception, is_ours: bool
) -> None:
    async def fails(*_: object) -> None:
        raise error

    monkeypatch.setattr(running_exchanges, "load_exchange", lambda _: toy())
    monkeypatch.setattr(running_exchanges.RunningExchanges, "_run_exchange", fails)
    wanted = ExchangeConfig(id="toy", channels=("trades",), symbols=("*",), endpoints={})
    prepared = Daemon(Config(exchanges=(wanted,), sinks=(), state=tmp_path, log_level="error"))
    task = asyncio.create_task(prepared.exchanges._keep(wanted))
    async with asyncio.timeout(PATIENCE_S):
        while not caplog.records:  # noqa: ASYNC110 - the log has no event
            await asyncio.sleep(0.01)
    task.cancel()
    (record,) = caplog.records
    assert (record.exc_info is not None) is is_ours
    assert ("an error of our own" in record.message) is is_ours
    assert prepared.exchanges.troubles["toy"] in record.message or is_ours
