"""Some hundred cases of the model; and that it notices what would go wrong without each of the rules."""

from collections.abc import Callable, Iterator

import pytest

from aggregator.cluster.lease import LeaseKeeper
from aggregator.cluster.positions import Positions
from aggregator.cluster.share import Share
from aggregator.records import Gap
from tests.cluster.model import Case, Stored, World

ONCE_WRONG = (6040876, 9304305, 20090248, 30083762)  # silent; a gap that need not be; two wrote as one; silent


@pytest.mark.parametrize("first", range(0, 120, 40))
def test_no_two_owners_and_no_record_lost(first: int) -> None:
    wrong = {seed: found for seed in range(first, first + 40) if (found := Case(seed).run())}
    assert wrong == {}


@pytest.mark.parametrize("seed", ONCE_WRONG)
def test_what_was_wrong_once_is_right(seed: int) -> None:
    assert Case(seed).run() == []


def stores_whatever_comes(world: World, write: object, writer: str) -> int:
    """A server that looks at no expected number."""
    frame = write.frame  # type: ignore[attr-defined]
    world.stream.append(Stored(frame.fence, frame.first, list(frame.records), writer))
    return len(world.stream)


def holds_nothing(_positions: object, _record: object, _count: int = 1) -> bool:
    """Whoever takes over thinks that the stream holds nothing."""
    return False


def keeps_nothing(self: Share, _now: int) -> None:
    """A standby without a ring."""
    while self._held:
        self._horizon = self._held.popleft().ts_recv


def is_always_covered(_share: Share, _topic: object) -> bool:
    """Whoever takes over thinks that it has everything."""
    return True


def tells_no_gap(*_told: object) -> list[object]:
    return []


def passes_over_all(share: Share, _joined: object = ()) -> Iterator[tuple[Gap, bool]]:
    """Whoever takes over thinks that the stream tells of all that is missing here."""
    return ((gap, True) for gap in share._gaps.values())


def passes_over_none(_share: Share, _joined: object = ()) -> Iterator[tuple[Gap, bool]]:
    return iter(())


def renews_for_ever(self: LeaseKeeper, _now: float) -> bool:
    """An owner that never looks at its clock."""
    return self.fence > 0 and not self.is_leaving


@pytest.mark.parametrize(
    ("place", "name", "instead", "words"),
    [
        (World, "store", stores_whatever_comes, "record"),
        (Positions, "holds", holds_nothing, "twice"),
        (Share, "_trim", keeps_nothing, "stood by"),
        (Share, "_covers", is_always_covered, "in silence"),
        (Share, "_uncovered", tells_no_gap, "in silence"),
        (Share, "_silent", passes_over_all, "in silence"),
        (Share, "_silent", passes_over_none, "stood by"),
    ],
)
def test_the_model_notices_a_rule_that_is_missing(
    place: type, name: str, instead: Callable[..., object], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(place, name, instead)
    assert any(words in said for seed in range(60) for said in Case(seed).run())


def test_clocks_alone_are_not_what_keeps_two_owners_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """The stream refuses an owner that does not know that it is none any more."""
    monkeypatch.setattr(LeaseKeeper, "may_publish", renews_for_ever)
    for seed in range(1, 30):
        case = Case(seed)
        wrong = case.run()
        assert [said for said in wrong if "silence" not in said and "stood by" not in said] == []
