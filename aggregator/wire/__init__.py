"""The kit of connectors: what reads and writes the messages of any exchange.

Every name is imported from here: `from aggregator.wire import ms, text`. The modules below only divide the kit.
"""

from aggregator.wire.binary import protobuf
from aggregator.wire.frames import by_word, either, encode
from aggregator.wire.inflating import gunzip, undeflate, unzlib
from aggregator.wire.made import bbo, candle, oldest_first, past, sides, unseen
from aggregator.wire.numbers import (
    ZERO,
    Text,
    as_written,
    fraction,
    is_zero,
    nonzero,
    number,
    optional,
    signed,
    step,
    text,
    unscaled,
)
from aggregator.wire.prices import best, crc_in_turns, levels, summed
from aggregator.wire.rows import at
from aggregator.wire.times import end_of, from_iso, interval_s, latest, lower_unit, ms, seconds, upper_unit, us
from aggregator.wire.topics import channels_by_word, symbols_by

__all__ = (
    "ZERO",
    "Text",
    "as_written",
    "at",
    "bbo",
    "best",
    "by_word",
    "candle",
    "channels_by_word",
    "crc_in_turns",
    "either",
    "encode",
    "end_of",
    "fraction",
    "from_iso",
    "gunzip",
    "interval_s",
    "is_zero",
    "latest",
    "levels",
    "lower_unit",
    "ms",
    "nonzero",
    "number",
    "oldest_first",
    "optional",
    "past",
    "protobuf",
    "seconds",
    "sides",
    "signed",
    "step",
    "summed",
    "symbols_by",
    "text",
    "undeflate",
    "unscaled",
    "unseen",
    "unzlib",
    "upper_unit",
    "us",
)
