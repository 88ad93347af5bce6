"""Exports in the programs that they are for: each is read by the library itself, and a small backtest runs on it."""

import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from aggregator.records import Instrument
from aggregator.research.export.exporting import export
from aggregator.research.export.writing import CannotExport
from tests.support.exported import at, changed, recorded, whole
from tests.support.written import NOON, SECOND_NS, as_lines, numbered, sold

pytestmark = pytest.mark.waits
DAY_S = 86_400
ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples/research"


def exported(folder: Path, target: str) -> Path:
    export([folder / "in"], folder / "out", target, "alpha", ["BTC/USDT"])
    return folder / "out"


# --- hftbacktest


def asset(hft: Any, *days: Path) -> Any:
    """A market of which hftbacktest finds each day in order."""
    np = pytest.importorskip("numpy")
    validation = pytest.importorskip("hftbacktest.data.validation")
    for day in days:
        with np.load(day) as held:
            validation.validate_event_order(held["data"])
    return (
        hft.BacktestAsset()
        .data([str(day) for day in days])
        .linear_asset(1.0)
        .constant_order_latency(1_000_000, 1_000_000)
        .risk_adverse_queue_model()
        .no_partial_fill_exchange()
        .trading_value_fee_model(0, 0)
        .tick_size(0.1)
        .lot_size(0.001)
        .last_trades_capacity(10)
    )


def best(backtest: Any, second: float) -> tuple[Any, ...]:
    """The best prices so many seconds behind noon, as the strategy sees them; null: there are none."""
    if backtest.current_timestamp > 2**62:
        backtest.elapse(1)  # to the first event
    backtest.elapse(NOON + round(second * SECOND_NS) + 1 - backtest.current_timestamp)
    depth = backtest.depth(0)
    return tuple(None if math.isnan(price) else round(price, 9) for price in (depth.best_bid, depth.best_ask))


def test_hftbacktest_trades_on_the_book_and_sees_none_in_the_gap(tmp_path: Path) -> None:
    hft = pytest.importorskip("hftbacktest", reason="hftbacktest is not installed: make test-backtesters")
    recorded(tmp_path)
    out = exported(tmp_path, "hftbacktest")
    backtest = hft.HashMapMarketDepthBacktest([asset(hft, out / "alpha_BTCUSDT_2026-11-29.npz")])
    assert [best(backtest, second) for second in (1, 3, 9)] == [(100.1, 100.3), (100.2, 100.4), (100.2, 100.4)]
    assert backtest.feed_latency(0) == (NOON + 2_998_000_000, NOON + 3 * SECOND_NS)
    assert [best(backtest, second) for second in (10, 16, 19)] == [(None, None)] * 3
    assert [best(backtest, second) for second in (20, 21)] == [(101.0, 101.2), (101.0, 101.1)]
    backtest.submit_buy_order(0, 1, 101.1, 0.5, hft.GTC, hft.LIMIT, True)  # noqa: FBT003 - it waits for the answer
    assert (backtest.position(0), backtest.orders(0).get(1).exec_price) == (0.5, pytest.approx(101.1))
    assert best(backtest, 40) == (100.9, 101.1)
    assert [round(float(trade["px"]), 9) for trade in backtest.last_trades(0)] == [100.3, 101.0]
    backtest.close()


def test_hftbacktest_goes_on_over_midnight_and_may_begin_there(tmp_path: Path) -> None:
    hft = pytest.importorskip("hftbacktest", reason="hftbacktest is not installed: make test-backtesters")
    records = [
        whole(1, [("1.0", "1"), ("0.9", "4")], [("2.0", "1")]),
        sold(DAY_S, "1.0"),
        changed(DAY_S + 1, [("1.0", "0")], []),
    ]
    as_lines(tmp_path / "in/a.ndjson", numbered([*records, changed(DAY_S + 9, [("1.1", "1")], [])]))
    out = exported(tmp_path, "hftbacktest")
    first, second = (out / f"alpha_BTCUSDT_2026-11-{day}.npz" for day in (29, 30))
    backtest = hft.HashMapMarketDepthBacktest([asset(hft, first, second)])
    assert [best(backtest, at) for at in (2, DAY_S, DAY_S + 1, DAY_S + 8)] == [(1, 2), (1, 2), (0.9, 2), (0.9, 2)]
    backtest.close()
    begun = asset(hft, second).initial_snapshot(str(out / "alpha_BTCUSDT_2026-11-30_snapshot.npz"))
    backtest = hft.HashMapMarketDepthBacktest([begun])
    assert [best(backtest, at) for at in (DAY_S, DAY_S + 8)] == [(0.9, 2), (0.9, 2)]
    backtest.close()


def test_hftbacktest_reads_the_csv_of_tardis(tmp_path: Path) -> None:
    tardis = pytest.importorskip(
        "hftbacktest.data.utils.tardis", reason="hftbacktest is not installed: make test-backtesters"
    )
    hft = pytest.importorskip("hftbacktest")
    recorded(tmp_path)
    out = exported(tmp_path, "tardis")
    files = [str(out / f"alpha_{table}_2026-11-29_BTCUSDT.csv.gz") for table in ("trades", "incremental_book_L2")]
    tardis.convert(files, str(tmp_path / "converted.npz"), buffer_size=1000, ss_buffer_size=100)
    backtest = hft.HashMapMarketDepthBacktest([asset(hft, tmp_path / "converted.npz")])
    found = [best(backtest, second) for second in (3, 9, 10, 19, 21)]
    assert found == [(100.2, 100.4), (100.2, 100.4), (None, None), (None, None), (101.0, 101.1)]
    backtest.close()


def example(name: str, *words: Path | str) -> str:
    """What an example prints."""
    program = [sys.executable, EXAMPLES / name, *words]
    place = os.environ | {"PYTHONPATH": str(ROOT)}  # the environment of backtesters has aggregator's packages alone
    ended = subprocess.run(program, capture_output=True, text=True, timeout=120, env=place, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_the_first_look_of_the_readme(tmp_path: Path) -> None:
    pytest.importorskip("polars")
    recorded(tmp_path)
    said = example("first_look.py", tmp_path / "in", "alpha", "BTC/USDT")
    assert "price_text" in said
    assert "the book at the last trade: " in said
    assert "gaps: [('book', " in said


def test_the_first_backtest_of_the_readme(tmp_path: Path) -> None:
    pytest.importorskip("hftbacktest", reason="hftbacktest is not installed: make test-backtesters")
    recorded(tmp_path)
    said = example("first_backtest.py", exported(tmp_path, "hftbacktest"))
    assert "alpha BTC/USDT position at the end: " in said


# --- nautilus_trader


def nautilus() -> Any:
    return pytest.importorskip("nautilus_trader", reason="nautilus_trader is not installed: make test-backtesters")


class Catalogue:
    """A catalogue as the library reads it, of either major version."""

    def __init__(self, path: Path) -> None:
        self.is_first = nautilus().__version__.startswith("1.")
        inside = pytest.importorskip(f"nautilus_trader.persistence{'.catalog' if self.is_first else ''}")
        self.inside = inside.ParquetDataCatalog(str(path))

    def instruments(self) -> list[Any]:
        return list(self.inside.instruments())

    def trades(self) -> list[Any]:
        return list(self.inside.trade_ticks() if self.is_first else self.inside.query_trade_ticks())

    def quotes(self) -> list[Any]:
        return list(self.inside.quote_ticks() if self.is_first else self.inside.query_quote_ticks())

    def deltas(self) -> list[Any]:
        return list(self.inside.order_book_deltas() if self.is_first else self.inside.query_order_book_deltas())


def row(delta: Any) -> tuple[Any, ...]:
    """A delta in short: the second behind noon, the action, the flags, price and size."""
    second = (delta.ts_init - NOON) / SECOND_NS
    return (
        second,
        getattr(delta.action, "name", delta.action),
        delta.flags,
        str(delta.order.price),
        str(delta.order.size),
    )


def test_nautilus_reads_what_was_told_to_the_digit(tmp_path: Path) -> None:
    nautilus()
    recorded(tmp_path)
    found = Catalogue(exported(tmp_path, "nautilus"))
    (instrument,) = found.instruments()
    assert (str(instrument.id), str(instrument.price_increment), str(instrument.size_increment)) == (
        "BTCUSDT.ALPHA", "0.1", "0.001",
    )  # fmt: skip
    assert [(str(trade.price), str(trade.size), str(trade.trade_id)) for trade in found.trades()] == [
        ("100.3", "0.500", "t1"), ("101.0", "1.000", "late"),
    ]  # fmt: skip
    assert [trade.ts_init - trade.ts_event for trade in found.trades()] == [3_000_000, 25 * SECOND_NS]
    assert [str(quote.ask_price) for quote in found.quotes()] == ["100.3"]
    deltas = [row(delta) for delta in found.deltas()]
    clear, add, update, delete = 4, 1, 2, 3
    names = {"CLEAR": clear, "ADD": add, "UPDATE": update, "DELETE": delete}
    assert [(at, names.get(action, action), *more) for at, action, *more in deltas][4:10] == [
        (1, add, 32, "100.3", "1.000"),
        (1, add, 32 | 128, "100.4", "4.000"),
        (3, update, 0, "100.2", "1.500"),
        (3, delete, 128, "100.3", "0.000"),
        (10, clear, 32 | 128, "0.0", "0.000"),
        (20, clear, 32, "0.0", "0.000"),
    ]


def test_nautilus_has_one_precision_and_several_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nautilus()
    monkeypatch.setattr("aggregator.research.export.nautilus.ROWS", 3)
    odd = "12345678.0123456789012345"
    records = [sold(number // 2, odd if number == 7 else "7", "0.25", id="x" * 40) for number in range(8)]
    as_lines(tmp_path / "in/a.ndjson", numbered(records))
    found = Catalogue(exported(tmp_path, "nautilus"))
    assert [str(trade.price) for trade in found.trades()] == ["7.0000000000000000"] * 7 + [odd]
    assert len({str(trade.trade_id) for trade in found.trades()}) == 8
    assert len(list((tmp_path / "out/data").glob("trade*/*/*.parquet"))) == 2


@pytest.mark.parametrize(("price", "size"), [("0." + "0" * 16 + "1", "1"), ("1", "9" * 20)])
def test_nautilus_refuses_what_it_cannot_hold(price: str, size: str, tmp_path: Path) -> None:
    nautilus()
    as_lines(tmp_path / "in/a.ndjson", numbered([sold(1, price, size)]))
    with pytest.raises(CannotExport, match="hold"):
        exported(tmp_path, "nautilus")
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_a_contract_without_an_instrument_is_refused(tmp_path: Path) -> None:
    nautilus()
    as_lines(tmp_path / "in/a.ndjson", numbered([sold(1, symbol="BTC/USDT:USDT")]))
    with pytest.raises(CannotExport, match="what one contract is: gather the channel `instruments`"):
        export([tmp_path / "in"], tmp_path / "out", "nautilus", "alpha", ["BTC/USDT:USDT"])


def test_nautilus_takes_contracts_and_names_of_strangers(tmp_path: Path) -> None:
    nautilus()
    names: dict[str, Any] = {"symbol": "BTC/USD:BTC", "raw_symbol": "../../B C/\u00e9:@+~-_1'"}
    kind: dict[str, Any] = {"kind": "perpetual", "base": "BTC", "quote": "USD", "settle": "BTC", "linear": False}
    told = Instrument(**at(-1, **names), **kind, contract_size="100", tick_size="0.5", lot_size="1")
    as_lines(tmp_path / "in/a.ndjson", numbered([told, sold(1, "100.5", "3", **names)]))
    export([tmp_path / "in"], tmp_path / "out", "nautilus", "alpha", ["BTC/USD:BTC"])
    assert {path.name for path in tmp_path.iterdir()} == {"in", "out"}
    found = Catalogue(tmp_path / "out")
    (instrument,) = found.instruments()
    assert str(instrument.id) == "../../B_20C/_C3_A9:@_2B_7E-_1_27.ALPHA"
    assert (instrument.is_inverse, str(instrument.multiplier)) == (True, "100")
    assert [str(trade.price) for trade in found.trades()] == ["100.5"]


def test_nautilus_is_not_told_that_a_contract_settled_in_a_third_asset_is_inverse(tmp_path: Path) -> None:
    nautilus()
    names: dict[str, Any] = {"symbol": "XRP/USD:BTC", "raw_symbol": "XRPUSDQ"}
    kind: dict[str, Any] = {"kind": "perpetual", "base": "XRP", "quote": "USD", "settle": "BTC", "linear": False}
    told = Instrument(**at(-1, **names), **kind, tick_size="0.5", lot_size="1")
    as_lines(tmp_path / "in/a.ndjson", numbered([told, sold(1, "100.5", "3", **names)]))
    export([tmp_path / "in"], tmp_path / "out", "nautilus", "alpha", ["XRP/USD:BTC"])
    (instrument,) = Catalogue(tmp_path / "out").instruments()
    assert instrument.is_inverse is False


@pytest.mark.filterwarnings("ignore::Warning")  # the library's own, of pandas
def test_nautilus_trades_on_the_book_and_sees_none_in_the_gap(tmp_path: Path) -> None:
    if not nautilus().__version__.startswith("1."):
        pytest.skip("the engine of 2.x is not final")
    from tests.support.nautilus_backtest import run

    recorded(tmp_path)
    seen, orders = run(exported(tmp_path, "nautilus"), buys_at=NOON + 21 * SECOND_NS)
    assert [((ts - NOON) / SECOND_NS, *best) for ts, *best in seen] == [
        (1, "100.1", "100.3"),
        (3, "100.2", "100.4"),
        (10, None, None),
        (20, "101.0", "101.2"),
        (21, "101.0", "101.1"),
        (40, "100.9", "101.1"),
    ]
    assert orders == [("101.1", "0.500")]
