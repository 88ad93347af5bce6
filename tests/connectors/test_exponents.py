"""An exponent in text is written out: Java spells small decimals `1E-7`, and a size of nothing `0E-8`.

Each case of `tests/frames` is read again with its amounts spelled so, and must give the same.
"""

import json
import re
from collections.abc import Iterable
from pathlib import Path

import pytest

from aggregator.catalog.registry import archived_ids, connector_ids
from tests.connectors.test_frames import FRAMES, load, plain, read

Row = dict[str, object]
DECIMAL = re.compile(r"[0-9]+\.[0-9]+", re.ASCII)
NAMES = {"raw_symbol", "id", "first_id", "last_id", "index", "interval", "reason", "topic"}
# Text is passed as it came where it has always been plain decimals, in documentation and in every capture, and where
# checksums are taken over it: looking for exponents there would cost each level of a book, and find none.
AS_SENT = {
    *("aster", "binance", "binancecoinm", "binancetr", "binanceus", "binanceusdm", "coinsph", "tokocrypto"),
    *("bequant", "fmfwio", "hitbtc"),
    *("bitget", "btcmarkets", "delta", "myokx", "okcoin", "okx", "okxus"),  # checksums
    *("bybit", "bybiteu", "bybitid"),
    *("ascendex", "bitfinex", "bitmart", "bitstamp", "bittrex", "bydfi", "coinbase", "coinbaseexchange", "coinex"),
    *("gate", "gateeu", "gemini", "kraken", "kucoin", "mexc", "phemex", "poloniex", "woo"),
}


def amounts(given: object) -> Iterable[str]:
    """The decimals of a record."""
    if isinstance(given, dict):
        for name, value in given.items():
            if name not in NAMES:
                yield from amounts(value)
    elif isinstance(given, list):
        for value in given:
            yield from amounts(value)
    elif isinstance(given, str) and DECIMAL.fullmatch(given):
        yield given


def respelled(case: Row) -> Row | None:
    """A case with its amounts as exponents; None where none stands there as text."""
    part = "body" if "rest" in case else "frame"
    if part not in case or not isinstance(case["gives"], list):
        return None
    before = after = str(case[part])
    for amount in set(amounts(case["gives"])):
        whole, _, decimals = amount.partition(".")
        after = after.replace(f'"{amount}"', f'"{whole}{decimals}E-{len(decimals)}"')
    return None if after == before else case | {part: after}


def differing(path: Path) -> list[object]:
    """What is said of the cases that give something else."""
    id = path.stem
    found: list[object] = []
    for case in map(json.loads, path.read_text().splitlines()):
        spelled = respelled(case)
        if spelled is not None:
            try:
                given = [plain(event) for event in read(load(id), spelled)]
            except Exception as why:  # noqa: BLE001 - whatever it raises, the frame is lost
                found.append((case.get("about"), why))
                continue
            if given != case["gives"]:
                found.append((case.get("about"), given))
    return found


@pytest.mark.parametrize("id", sorted({*connector_ids(), *archived_ids()} - AS_SENT))
def test_an_exponent_in_text_is_written_out(id: str) -> None:
    assert differing(FRAMES / f"{id}.jsonl") == []


@pytest.mark.parametrize("id", sorted(AS_SENT))
def test_what_is_passed_as_it_came_is_all_that_is_excepted(id: str) -> None:
    assert differing(FRAMES / f"{id}.jsonl")
