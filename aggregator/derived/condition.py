"""The condition of an input: whether it can be relied on, from its gaps and states."""

from aggregator.derived.concerns import concerns, line_of
from aggregator.records import Gap, Health, Record, TopicState, is_hole

GOOD = frozenset({"live", "quiet"})  # states of a topic in which what is known of it holds


class Condition:
    """How a topic stands, over all connections that carry it."""

    __slots__ = ("_gaps", "_states")

    def __init__(self) -> None:
        self._states: dict[str, TopicState] = {}  # by connection; no more than two of a line
        self._gaps: set[str] = set()

    def take(self, record: Gap | Health, last: Record | None) -> None:
        """Take a gap or a state; `last` is the newest record of the topic."""
        if isinstance(record, Gap):
            if concerns(record, last):
                self._gap(record)
            return
        line, states = line_of(record.conn), self._states
        is_good = record.state in GOOD
        for conn in [conn for conn, state in states.items() if line_of(conn) == line]:
            if is_good or states[conn] not in GOOD:  # a newer connection of the line takes over, or tries to
                del states[conn]
        states[record.conn] = record.state

    def _gap(self, gap: Gap) -> None:
        if gap.phase == "open":
            self._gaps.add(gap.gap_id)
            return
        was_open = gap.gap_id in self._gaps
        self._gaps.discard(gap.gap_id)
        if gap.cause == "parse_error" or (is_hole(gap) and not was_open):  # a single one says nothing of the state
            return
        if gap.symbol or gap.raw_symbol:  # the end of a gap alone says that it is live
            self._states = {conn: state for conn, state in self._states.items() if state in GOOD} or {gap.conn: "live"}

    @property
    def is_told_good(self) -> bool:
        """Tell whether its states are good, whatever gaps are open; of a topic without a state nothing bad is said."""
        return not self._states or not GOOD.isdisjoint(self._states.values())

    @property
    def state(self) -> TopicState:
        """The state in one word."""
        if self._gaps:
            return "suspect"
        good = [state for state in self._states.values() if state in GOOD]
        return next(iter(good or self._states.values()), "live")

    @property
    def is_good(self) -> bool:
        """Tell whether what is known of the topic holds."""
        return self.state in GOOD
