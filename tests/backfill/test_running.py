"""A backfill that is killed at each of its steps, refused and fed with nonsense: each record once, every hole told."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from msgspec import structs

from aggregator.backfill.files import FOLDER, BadProgress, HistoryFiles, Job
from aggregator.backfill.running import BackfillFailed, BackfillRun, CannotBackfill, Filled, history_of
from aggregator.backfill.walks import Target
from aggregator.catalog.registry import load_exchange
from aggregator.errors import SessionError
from aggregator.exchange import PastPages, Request
from aggregator.ingest import state
from aggregator.records import SECOND_NS, Candle, Gap, Trade
from aggregator.research import Recording
from tests.backfill.toy_exchange import END, INSTRUMENT, START, Toy

NOW = END + 10**6 * SECOND_NS
TOY = Toy()
Fetch = Callable[[Request], Awaitable[bytes]]


@pytest.fixture(autouse=True)
def no_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that is killed loses nothing that the kernel has, so the tests do not wait for the disk."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


async def good(request: Request) -> bytes:
    """An exchange that answers at once."""
    parts = urlsplit(request.url)
    return TOY.answer(parts.path, dict(parse_qsl(parts.query)))


def job(channel: str = "trades", start: int = START, end: int = END, interval: str = "1m") -> Job:
    exchange = load_exchange("binance")
    assert exchange is not None
    history = structs.replace(history_of(exchange, INSTRUMENT, channel, interval), most=200)
    target = Target(history=history, raw_symbol="BTCUSDT", start=start, end=end, interval=interval)
    return Job(exchange="binance", instrument=INSTRUMENT, target=target)


async def no_pause(_: float) -> None:
    """Wait for nothing."""


def run(out: Path, wanted: Job, fetch: Fetch = good, now: int = NOW) -> Filled:
    files = HistoryFiles(out, wanted, lambda: now)
    try:
        return asyncio.run(BackfillRun(wanted, files, fetch, lambda: now, pause=no_pause).run())
    finally:
        files.close()


def ids(out: Path) -> list[str | None]:
    """The ids of all trades that the files hold, each of which must be whole."""
    return [r.id for r in Recording(out, strict=True).records("trades") if isinstance(r, Trade)]


class Killed(BaseException):
    """The process ends here, and tidies nothing up."""


@contextmanager
def killed_at(step: int, monkeypatch: pytest.MonkeyPatch, *, is_after: bool) -> Iterator[list[int]]:
    """End the process at the nth step that changes the disk: before it is done, or just after."""
    steps = [0]

    def cut(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **words: Any) -> Any:
            steps[0] += 1
            if steps[0] != step:
                return real(*args, **words)
            if is_after:
                with suppress(OSError):
                    real(*args, **words)
            raise Killed

        return call

    with monkeypatch.context() as patched:
        for owner, name in ((os, "fsync"), (os, "link"), (state, "write"), (Path, "unlink")):
            patched.setattr(owner, name, cut(getattr(owner, name)))
        yield steps


def test_the_files_are_like_a_daemons(tmp_path: Path) -> None:
    filled = run(tmp_path, job())
    assert ids(tmp_path) == TOY.ids()
    assert filled.records == len(TOY.ids())
    assert not filled.holes
    days = sorted(path.relative_to(tmp_path).parts[0] for path in filled.files)
    assert days == ["2023-11-14", "2023-11-15"]  # the day on which a trade happened
    assert all(path.name.startswith("trades-") and path.name.endswith(".ndjson.zst") for path in filled.files)
    first = next(r for r in Recording(tmp_path).records("trades") if isinstance(r, Trade))
    assert (first.exchange, first.symbol, first.raw_symbol) == ("binance", "BTC/USDT", "BTCUSDT")
    assert (first.source, first.flags, first.conn) == ("rest", ("backfill",), "binance/history")
    assert first.ts_recv == first.ts_event
    assert first.base_size == first.size
    wanted = next(t for t in TOY.trades if str(t["id"]) == first.id)
    assert (first.price, first.size) == (wanted["price"], wanted["qty"])  # the exchange's own digits


def test_what_is_had_is_told_without_a_hole(tmp_path: Path) -> None:
    run(tmp_path, job())
    gaps = [gap for gap in Recording(tmp_path).records("gap") if isinstance(gap, Gap)]
    assert all(gap.repair == "full" for gap in gaps)
    assert gaps[0].ts_from == START
    assert gaps[-1].ts_to == END
    assert [gap.ts_to for gap in gaps[:-1]] == [gap.ts_from for gap in gaps[1:]]
    assert sum(gap.recovered or 0 for gap in gaps) == len(TOY.ids())


@pytest.mark.parametrize("is_after", [False, True])
def test_killed_at_each_step_it_writes_each_record_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_after: bool
) -> None:
    with killed_at(0, monkeypatch, is_after=is_after) as steps:
        run(tmp_path / "whole", job())
    assert steps[0] > 15
    for step in range(1, steps[0] + 1):
        out = tmp_path / str(step)
        with killed_at(step, monkeypatch, is_after=is_after), pytest.raises(Killed):
            run(out, job())
        filled = run(out, job())
        assert ids(out) == TOY.ids(), step
        assert filled.records == len(TOY.ids())
        gaps = [gap for gap in Recording(out).records("gap") if isinstance(gap, Gap)]
        assert sum(gap.recovered or 0 for gap in gaps) == len(TOY.ids())
        assert not list((out / FOLDER).glob("*.part*")), step


def test_killed_again_and_again_it_still_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(200):
        try:
            with killed_at(9, monkeypatch, is_after=True):
                run(tmp_path, job())
            break
        except Killed:
            continue
    assert ids(tmp_path) == TOY.ids()


def test_done_it_asks_for_nothing_more(tmp_path: Path) -> None:
    run(tmp_path, job())

    async def nothing(_: Request) -> bytes:
        raise AssertionError("nothing is to be asked")

    assert run(tmp_path, job(), nothing).records == len(TOY.ids())
    assert ids(tmp_path) == TOY.ids()


def test_refusals_and_nonsense_are_asked_again(tmp_path: Path) -> None:
    bad: list[object] = [
        SessionError("too many requests", 7.0, is_busy=True),
        b"<html>502</html>",
        SessionError("HTTP 500"),
        b'[{"id":5000,"pri',
        b"",
    ]
    said: list[float] = []

    async def moody(request: Request) -> bytes:
        if bad:
            answer = bad.pop(0)
            if isinstance(answer, Exception):
                raise answer
            assert isinstance(answer, bytes)
            return answer
        return await good(request)

    async def pause(seconds: float) -> None:
        said.append(seconds)

    files = HistoryFiles(tmp_path, job(), lambda: NOW)
    asyncio.run(BackfillRun(job(), files, moody, lambda: NOW, pause=pause).run())
    files.close()
    assert ids(tmp_path) == TOY.ids()
    assert said == [7.0, 2.0, 4.0, 8.0, 16.0]  # what the exchange names is obeyed


def test_given_up_it_can_be_gone_on_with(tmp_path: Path) -> None:
    asked = 0

    async def ending(request: Request) -> bytes:
        nonlocal asked
        asked += 1
        if asked > 5:
            raise SessionError("HTTP 500")
        return await good(request)

    with pytest.raises(BackfillFailed, match="begun again, it goes on from here"):
        run(tmp_path, job(), ending)
    assert run(tmp_path, job()).records == len(TOY.ids())
    assert ids(tmp_path) == TOY.ids()


def test_what_is_too_old_is_a_gap_and_not_asked_for(tmp_path: Path) -> None:
    exchange = load_exchange("binanceusdm")
    assert exchange is not None
    history = exchange.history[0]
    target = Target(history=history, raw_symbol="BTCUSDT", start=START, end=END)
    wanted = Job(exchange="binanceusdm", instrument=INSTRUMENT, target=target)

    async def nothing(_: Request) -> bytes:
        raise AssertionError("nothing is to be asked")

    filled = run(tmp_path, wanted, nothing)
    assert [(hole.start, hole.end) for hole in filled.holes] == [(START, END)]
    (gap,) = [gap for gap in Recording(tmp_path).records("gap") if isinstance(gap, Gap)]
    assert (gap.cause, gap.repair, gap.ts_from, gap.ts_to) == ("expired", "none", START, END)


def test_candles_that_are_not_over_are_left_out(tmp_path: Path) -> None:
    start = -(-START // (60 * SECOND_NS)) * 60 * SECOND_NS
    run(tmp_path, job("candles", start, END), now=END - 30 * SECOND_NS)
    found = [r for r in Recording(tmp_path, strict=True).records("candles") if isinstance(r, Candle)]
    opened = [candle.ts_open for candle in found]
    assert opened == list(range(start, END - 90 * SECOND_NS + 1, 60 * SECOND_NS))
    assert all(candle.ts_recv == candle.ts_close for candle in found)
    assert {candle.quote_volume for candle in found} == {"15"}


def test_progress_that_is_damaged_is_said(tmp_path: Path) -> None:
    run(tmp_path, job())
    (path,) = (tmp_path / FOLDER).glob("*.json")
    path.write_text("{")
    with pytest.raises(BadProgress, match="remove it"):
        run(tmp_path, job())


def test_two_do_not_write_to_one_directory(tmp_path: Path) -> None:
    files = HistoryFiles(tmp_path, job(), lambda: NOW)
    with pytest.raises(BlockingIOError):
        HistoryFiles(tmp_path, job(), lambda: NOW)
    files.close()


def test_what_cannot_be_had_is_said_with_what_can() -> None:
    hyperliquid, binance, itbit = (load_exchange(id) for id in ("hyperliquid", "binance", "itbit"))
    assert hyperliquid is not None
    assert binance is not None
    assert itbit is not None
    with pytest.raises(CannotBackfill, match="candles can be had"):
        history_of(hyperliquid, INSTRUMENT, "trades", "1m")
    with pytest.raises(CannotBackfill, match="there are 1s, 1m"):
        history_of(binance, INSTRUMENT, "candles", "7m")
    with pytest.raises(CannotBackfill, match="know how to ask for"):
        history_of(itbit, INSTRUMENT, "trades", "1m")


def test_an_answer_without_ids_is_no_answer(tmp_path: Path) -> None:
    wanted = job()
    history: PastPages = structs.replace(
        wanted.target.history, parse=lambda _, __: [Trade(raw_symbol="X", price="1", size="1", ts_event=START)]
    )
    nameless = structs.replace(wanted, target=structs.replace(wanted.target, history=history))
    with pytest.raises(BackfillFailed, match="has no id"):
        run(tmp_path, nameless)


def test_an_answer_of_other_times_is_said(tmp_path: Path) -> None:
    wanted, said = job(), list[str]()
    late = Trade(raw_symbol="BTCUSDT", id="1", price="1", size="1", ts_event=START - 3600 * SECOND_NS)
    history = structs.replace(wanted.target.history, walk="forward", span_s=None, parse=lambda _, __: [late])
    wanted = structs.replace(wanted, target=structs.replace(wanted.target, history=history))
    files = HistoryFiles(tmp_path, wanted, lambda: NOW)
    filled = asyncio.run(BackfillRun(wanted, files, good, lambda: NOW, pause=no_pause, said=said.append).run())
    files.close()
    assert filled.records == 0
    assert len(said) == 1
    assert "answers with records of other times than were asked for" in said[0]
