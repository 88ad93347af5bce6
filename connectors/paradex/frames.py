"""Telling Paradex's binary messages apart."""

from collections.abc import Callable, Iterable
from struct import error

from aggregator.errors import BadFrame
from aggregator.exchange import Event
from connectors.paradex.figure_wires import FIGURES, FUNDING, read_figures, read_funding
from connectors.paradex.wires import BEST, BOOK, HEAD, SCHEMA, TRADE, read_best, read_book, read_trade

READERS: dict[int, tuple[int, Callable[[bytes, int], Iterable[Event]]]] = {  # template -> length, reader
    1: (TRADE.size, read_trade),
    2: (BEST.size, read_best),
    3: (BOOK.size, read_book),
    4: (FIGURES.size, read_figures),
    5: (FUNDING.size, read_funding),
}


def read_binary(frame: bytes) -> Iterable[Event]:
    """The records of a message; a template that is not known gives none."""
    try:
        length, template, schema, _ = HEAD.unpack_from(frame)
        if schema != SCHEMA:
            raise BadFrame(f"a message of schema {schema}, not of {SCHEMA}")
        least, read = READERS.get(template, (0, None))
        if length < least:
            raise BadFrame(f"a message of template {template} with a block of {length} bytes, not of {least}")
        return () if read is None else [*read(frame, HEAD.size + length)]
    except (error, IndexError, ValueError) as why:
        raise BadFrame(f"no message in a frame of {len(frame)} bytes: {why}") from None
