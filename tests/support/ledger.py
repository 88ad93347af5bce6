"""Every trade is published once, or a gap tells of it before a later one is published."""

from collections.abc import Sequence
from typing import Any


class Ledger:
    """The trades that were published, the missing ones between them, and what gaps say of those.

    is_sure: whether the session can see each loss, and so must open a gap for it and count it
    """

    def __init__(self, symbols: Sequence[str], stride: int, *, is_sure: bool) -> None:
        self.missing: dict[str, set[int]] = {symbol: set() for symbol in symbols}
        self._stride = stride
        self._is_sure = is_sure
        self._highest: dict[str, int] = {}  # symbol -> the number of the newest trade that was published
        self._torn: set[str] = set()  # symbols without a trade since a frame could not be read
        self._gap_from: dict[str, int] = {}  # symbol -> the newest trade when the gap of its trades opened

    def see_trade(self, trade: dict[str, Any], *, is_told: bool) -> None:
        """Take a trade that the reader has read; `is_told`: under an open gap."""
        symbol, number, stride = trade["raw_symbol"], int(trade["id"]), self._stride
        highest = self._highest.get(symbol, number)
        if number < highest:
            is_marked = {"late", "backfill"} & set(trade.get("flags", ()))
            assert is_marked, f"{symbol}: trade {number} is late and does not say so"
            assert is_told, f"{symbol}: trade {number} is late, without a gap"
            self.missing[symbol].remove(number)
            return
        skipped = range(highest + stride, number, stride)
        if skipped:
            is_told = is_told or (not self._is_sure and symbol in self._torn)
            assert is_told, f"{symbol}: trades {skipped} are missing in silence"
        self.missing[symbol].update(skipped)
        self._torn.discard(symbol)
        self._highest[symbol] = number

    def see_gap(self, gap: dict[str, Any]) -> None:
        """Take a gap of trades, or one of everything."""
        symbol = gap["raw_symbol"]
        if symbol is None:
            self._torn.update(self.missing)
        elif gap["phase"] == "open":
            self._open(symbol, gap)
        else:
            self._close(symbol, gap)

    def _open(self, symbol: str, gap: dict[str, Any]) -> None:
        """The trades that a gap names are the ones that are missing."""
        self._gap_from[symbol] = self._highest.get(symbol, 0)
        if gap["cause"] == "sequence":
            assert gap["expected"] == self._highest[symbol] + 1, f"{symbol}: a gap names another trade than is missing"
            assert gap["missed"] == gap["got"] - gap["expected"] > 0

    def _close(self, symbol: str, gap: dict[str, Any]) -> None:
        """What the end of a gap says of the trades that are still missing is true."""
        missing = sum(number > self._gap_from[symbol] for number in self.missing[symbol])
        if gap["repair"] in {"full", "not_needed"}:
            assert not missing, f"{symbol}: {missing} trades are missing, and the gap says: {gap['repair']}"
        if "missed" in gap:
            told = gap["missed"] - gap["recovered"]
            assert told == missing, f"{symbol}: {missing} trades are missing, and the gap says: {told}"
