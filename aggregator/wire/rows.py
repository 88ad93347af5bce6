"""The rows of an answer by REST."""

from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import Raw


def at(*path: str) -> Callable[[bytes], list[Raw]]:
    """A function that gives the rows of an answer: the list in a field, or in a field of a field, still to be read.

    It serves as `Listing.rows`. It raises where the answer has no such list.

    >>> [bytes(row) for row in at("result", "list")(b'{"result":{"list":[{"s":"BTC"},{"s":"ETH"}]}}')]
    [b'{"s":"BTC"}', b'{"s":"ETH"}']
    """
    answer: Any = list[Raw]
    for name in reversed(path):
        answer = msgspec.defstruct("Answer", [("inner", answer)], rename={"inner": name})
    decode, depth = msgspec.json.Decoder(answer).decode, len(path)

    def rows(body: bytes) -> list[Raw]:
        found: Any = decode(body)
        for _ in range(depth):
            found = found.inner
        return list[Raw](found)

    return rows
