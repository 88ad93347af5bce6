"""Topics in a request: symbols by the exchange's words, and channels by theirs."""

from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Protocol, TypeVar


class Asking(Protocol):
    """A subscription."""

    @property
    def raw_symbol(self) -> str: ...


C = TypeVar("C")
K = TypeVar("K", bound=Hashable)
T = TypeVar("T", bound=Asking)


def symbols_by(word: Callable[[T], K], wanted: Iterable[T]) -> dict[K, list[str]]:
    """The raw symbols of topics, each once, by a word of the exchange: for frames that name a channel and its symbols.

    >>> symbols_by(lambda s: s.channel, [Subscription("trades", "A"), Subscription("trades", "B")])
    {'trades': ['A', 'B']}
    """
    found: dict[K, dict[str, None]] = {}
    for s in wanted:
        found.setdefault(word(s), {})[s.raw_symbol] = None
    return {key: list(symbols) for key, symbols in found.items()}


def channels_by_word(*channels: Mapping[C, str]) -> dict[str, tuple[C, ...]]:
    """Our channels by the exchange's word for them, of which one may carry several of ours.

    >>> channels_by_word({"trades": "trade", "ticker": "ticker", "bbo": "ticker"})
    {'trade': ('trades',), 'ticker': ('ticker', 'bbo')}
    """
    found: dict[str, dict[C, None]] = {}
    for table in channels:
        for channel, word in table.items():
            found.setdefault(word, {})[channel] = None
    return {word: tuple(ours) for word, ours in found.items()}
