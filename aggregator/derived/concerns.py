"""The question of which gaps concern a topic: its own, and those of the line that carries it."""

from aggregator.records import Gap, Record, is_hole


def line_of(conn: str) -> str:
    """The line that a connection continues: `name/main.1#17` and `name/main.1#18` are one."""
    return conn.partition("#")[0]


def concerns(gap: Gap, last: Record | None) -> bool:
    """Tell whether a gap concerns the topic whose newest record is `last`.

    A gap without symbols is about a whole connection, which may be another than the one that carries this topic, or
    about whatever a recording should hold.
    """
    is_own = bool(gap.symbol or gap.raw_symbol) or last is None or is_hole(gap)
    return is_own or (last is not None and line_of(gap.conn) == line_of(last.conn))
