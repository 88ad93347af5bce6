"""Unified names of instruments, in ccxt's grammar: `BASE/QUOTE[:SETTLE[-YYMMDD[-STRIKE-(C|P)]]]`."""

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import lru_cache

from aggregator.records import Instrument, Kind

NEEDS: dict[Kind, tuple[str, ...] | None] = {  # the parts of a name; an index has none
    "spot": ("base", "quote"),
    "perpetual": ("base", "quote", "settle"),
    "future": ("base", "quote", "settle", "expiry"),
    "option": ("base", "quote", "settle", "expiry", "strike", "option_type"),
    "index": None,
}

Aliases = Mapping[str, str]  # an exchange's name of an asset -> the unified one


def unified(instrument: Instrument) -> str | None:
    """The unified name, from base, quote, settle, expiry, strike; null where one that it needs is missing."""
    needs = NEEDS[instrument.kind]
    if needs is None or any(not getattr(instrument, field) for field in needs):
        return None
    name = f"{instrument.base}/{instrument.quote}"
    if "settle" in needs:
        name += f":{instrument.settle}"
    if "expiry" in needs:
        try:
            name += f"-{datetime.fromtimestamp((instrument.expiry or 0) // 10**9, UTC):%y%m%d}"
        except (ValueError, OverflowError, OSError):
            return None  # no day that a calendar has
    if "strike" in needs:
        name += f"-{_short(instrument.strike or '')}-{(instrument.option_type or '')[0].upper()}"
    return name


def _short(digits: str) -> str:
    return digits.rstrip("0").rstrip(".") if "." in digits else digits


def name_all(instruments: Iterable[Instrument], aliases: Aliases) -> tuple[list[Instrument], list[str]]:
    """Give every instrument its unified assets and symbol; returns them, and a warning for each name taken twice.

    The second instrument that would get a taken symbol gets `~<raw_symbol>` appended: nothing is overwritten.
    """
    taken: dict[str, str | None] = {}
    named: list[Instrument] = []
    warnings: list[str] = []
    for instrument in instruments:
        for field in ("base", "quote", "settle"):
            asset = getattr(instrument, field)
            setattr(instrument, field, aliases.get(asset, asset))
        symbol = unified(instrument)
        if symbol is not None and symbol in taken:
            warnings.append(f"{instrument.raw_symbol} would be named {symbol}, as {taken[symbol]} is")
            while symbol in taken:
                symbol = f"{symbol}~{instrument.raw_symbol}"
        if symbol is not None:
            taken[symbol] = instrument.raw_symbol
        instrument.symbol = symbol
        named.append(instrument)
    return named, warnings


@lru_cache(maxsize=4096)
def pattern(glob: str) -> re.Pattern[str]:
    """A pattern in which `*` stands for any text (none too) and every other character for itself."""
    first, *rest = map(re.escape, glob.split("*"))
    if not rest:
        return re.compile(first)
    return re.compile(first + "".join(f"(?>.*?{part})" for part in rest[:-1] if part) + ".*" + rest[-1], re.DOTALL)


def matches(glob: str, instrument: Instrument) -> bool:
    """Tell whether a pattern names the instrument, by its unified or its raw symbol."""
    names = (instrument.symbol, instrument.raw_symbol)
    return any(name is not None and pattern(glob).fullmatch(name) is not None for name in names)
