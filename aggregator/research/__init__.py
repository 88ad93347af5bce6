"""Recordings read as what they are: tables with right types, books at a time, gaps beside the data.

from aggregator.research import Recording

recording = Recording("data/")
trades = recording.trades("example", "BTC/USDT", start="2026-11-29", end="2026-11-30").to_polars()
"""

from aggregator.research.coverage import CoverageReport, coverage_of
from aggregator.research.defects import Defect, RecordingWarning, UnreadableRecording
from aggregator.research.gaps import GapInterval, Gaps
from aggregator.research.recording import BookAt, Recording
from aggregator.research.rows import Rows
from aggregator.research.times import BadMoment, Moment, nanoseconds
from aggregator.tables.extras import MissingPackage

__all__ = [
    "BadMoment",
    "BookAt",
    "CoverageReport",
    "Defect",
    "GapInterval",
    "Gaps",
    "MissingPackage",
    "Moment",
    "Recording",
    "RecordingWarning",
    "Rows",
    "UnreadableRecording",
    "coverage_of",
    "nanoseconds",
]
