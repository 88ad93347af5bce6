"""Whatever is lost on the way, a reader's book is the exchange's own or stands under an open gap.

`MODEL_CASES=100000` in the environment runs that many cases, spread over the dialects, and not the same ones each time.
"""

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from aggregator.sequence import contiguous, linked, ordered, spanning
from aggregator.session import order_book as books
from tests.support.journey import Journey
from tests.support.model_wire import Dialect

CASES = int(os.environ.get("MODEL_CASES", "0"))
Step = tuple[str, int]

RANGES = Dialect(
    name="ranges, book by REST",
    book=contiguous,
    says=frozenset({"first"}),
    whole="rest",
    trades=contiguous,
    backfilled=True,
)
LIMITED = Dialect(
    name="ranges, book of limited depth by REST",
    book=contiguous,
    says=frozenset({"first"}),
    whole="rest",
    limit=3,
    trades=contiguous,
)
PLUS_ONE = Dialect(name="plus one, book in band", book=contiguous, most=1, trades=contiguous)
ASKED = Dialect(
    name="plus one, book by a frame", book=contiguous, most=1, whole="asked", trades=ordered, trade_stride=5
)
LINKED = Dialect(name="linked, book in band", book=linked, stride=3, says=frozenset({"prev"}), trades=contiguous)
LINKED_REST = Dialect(
    name="linked, book by REST",
    book=linked,
    stride=3,
    says=frozenset({"first", "prev"}),
    whole="rest",
    trades=ordered,
    trade_stride=5,
)
SPANNING = Dialect(
    name="linked, book in band and by REST", book=spanning, stride=3, says=frozenset({"prev"}), whole="both"
)
WITHDRAWN = Dialect(
    name="linked, book in band no more", book=spanning, stride=3, says=frozenset({"prev"}), whole="withdrawn"
)
LINKED_CHECKED = Dialect(name="linked and checked", book=linked, stride=3, says=frozenset({"prev"}), checked=True)
CHECKED = Dialect(name="checked alone", checked=True, depth=3, trades=contiguous)
ORDERED = Dialect(name="ordered by time, book by REST", book=ordered, stride=1000, whole="rest")
WHOLE = Dialect(name="whole books", whole="always")
DIALECTS = (
    RANGES,
    LIMITED,
    PLUS_ONE,
    ASKED,
    LINKED,
    LINKED_REST,
    SPANNING,
    WITHDRAWN,
    LINKED_CHECKED,
    CHECKED,
    ORDERED,
    WHOLE,
)

COMMON = ("live", "live", "live", "change", "both", "trade", "trade", "deliver", "deliver", "answer", "answer", "wait")
FAULTS = ("lose", "twice", "swap", "garble", "poison", "wrong", "old", "spoil", "fail", "reconnect")
STEP = st.tuples(st.sampled_from(COMMON + FAULTS), st.integers(0, 1023))
STEPS = st.one_of(st.lists(STEP, max_size=20), st.lists(STEP, min_size=20, max_size=60))  # the short ones are plainer


def play(dialect: Dialect, *steps: Step) -> Journey:
    journey = Journey(dialect)
    for name, seed in steps:
        journey.step(name, seed)
    journey.heal()
    return journey


@pytest.fixture(autouse=True, scope="module")
def small_buffer() -> Iterator[None]:
    """Few deltas are held while a book is fetched, so that what holds them overflows."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(books, "BUFFER", 6)
        yield


def wrong(name: str, dialect: Dialect, *steps: Step) -> object:
    """A case that was wrong once."""
    return pytest.param(dialect, steps, id=f"{name} ({dialect.name})")


@pytest.mark.timeout(240 + CASES // 20)
@settings(
    max_examples=-(-CASES // len(DIALECTS)) or 300,
    derandomize=not CASES,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.generate, Phase.shrink),
)
@given(STEPS)
def test_a_book_is_the_exchanges_own_or_under_a_gap(steps: list[Step]) -> None:
    """Each exchange of the model goes through the same steps: chance takes longer to make them than all of these."""
    for dialect in DIALECTS:
        try:
            play(dialect, *steps)
        except Exception as error:
            raise AssertionError(dialect.name) from error


@pytest.mark.parametrize(
    ("dialect", "steps"),
    [
        wrong("a whole book with a price that is no number", RANGES, ("both", 0), ("spoil", 1)),
        wrong("levels outside a limited book are served", LIMITED, ("live", 64), ("live", 68), ("answer", 1)),
        wrong("a book asked for is lost", ASKED, ("deliver", 0), ("change", 2), ("deliver", 0), ("garble", 0)),
        wrong(
            "an answer is older than the live book",
            RANGES,
            ("wait", 0),
            ("live", 1),
            ("wait", 1),
            ("live", 1),
        ),
        wrong(
            "an answer is older than the live book",
            ORDERED,
            ("wait", 0),
            ("live", 1),
            ("wait", 1),
            ("live", 1),
        ),
        wrong(
            "an answer is older than the book that came by itself",
            SPANNING,
            *[("change", 0), ("deliver", 0), ("wait", 478), ("live", 0), ("old", 0)],
        ),
        wrong("the first whole book is lost", PLUS_ONE, ("deliver", 0), ("garble", 0)),
        wrong("the first whole book is lost", CHECKED, ("deliver", 0), ("garble", 0)),
        wrong("another book's answer cannot be read", ORDERED, ("both", 0), ("answer", 0), ("spoil", 0)),
        wrong("a late trade comes after the end of its gap", RANGES, ("trade", 0), ("live", 0), ("swap", 512)),
        wrong("a delta overtakes the whole book", PLUS_ONE, ("deliver", 1), ("swap", 1)),
        wrong(
            "a whole book comes twice",
            PLUS_ONE,
            ("deliver", 1),
            ("twice", 0),
            ("deliver", 0),
            ("swap", 1),
        ),
        wrong(
            "a checksum is given up where nothing else shows a loss",
            CHECKED,
            *[("deliver", 0), ("wrong", 0), ("deliver", 0), ("deliver", 1), ("wrong", 0), ("deliver", 0)],
            *[("wait", 2), ("deliver", 0), ("wrong", 0), ("deliver", 0), ("live", 70), ("lose", 68), ("live", 132)],
        ),
        wrong(
            "a gap of silence leaves the book standing",
            RANGES,
            ("live", 0),
            ("wait", 0),
            ("answer", 0),
            ("wait", 453),
        ),
        wrong("a book without a delta is disconnected", RANGES, ("wait", 0), ("answer", 0), ("reconnect", 0)),
        wrong(
            "growing numbers are taken to miss nothing",
            ASKED,
            ("trade", 0),
            ("live", 0),
            ("trade", 0),
            ("reconnect", 0),
        ),
        wrong(
            "missing trades are forgotten in a disconnect",
            PLUS_ONE,
            ("trade", 8),
            ("lose", 512),
            ("trade", 8),
            ("reconnect", 0),
            ("trade", 8),
        ),
        wrong(
            "a delta that is held cannot be applied",
            RANGES,
            ("wait", 0),
            ("both", 0),
            ("wait", 1),
            ("poison", 0),
        ),
        wrong(
            "a delta that is held cannot be applied",
            ORDERED,
            ("wait", 0),
            ("both", 0),
            ("wait", 1),
            ("poison", 0),
        ),
        wrong(
            "a frame cannot be read while a book is fetched, and others are held",
            ORDERED,
            ("live", 2),
            ("both", 0),
            ("garble", 170),
        ),
        wrong(
            "a frame cannot be read while a book is fetched, and none is held",
            ORDERED,
            ("deliver", 0),
            ("wait", 0),
            ("garble", 68),
            ("deliver", 0),
            ("answer", 0),
        ),
        wrong(
            "an answer is older than the book that was lost",
            RANGES,
            ("both", 0),
            ("answer", 0),
            ("answer", 0),
            ("garble", 1),
            ("poison", 0),
            ("live", 0),
            ("wait", 1),
            ("old", 1),
        ),
    ],
)
def test_what_was_wrong_once(dialect: Dialect, steps: tuple[Step, ...]) -> None:
    play(dialect, *steps)


@pytest.mark.parametrize(
    ("dialect", "steps"),
    [
        (Dialect(name="blind book", book=ordered), [("live", 1), ("answer", 0), ("lose", 65), ("live", 69)]),
        (Dialect(name="blind trades"), [("trade", 8), ("lose", 512), ("trade", 8)]),
    ],
    ids=lambda value: value.name if isinstance(value, Dialect) else "",
)
def test_a_loss_that_nobody_tells_is_noticed(
    monkeypatch: pytest.MonkeyPatch, dialect: Dialect, steps: list[Step]
) -> None:
    monkeypatch.setattr(Journey, "_hides", lambda *_: False)
    with pytest.raises(AssertionError, match=r"in silence|not the book of update"):
        play(dialect, *steps)
