"""What a member has written has to come by its readers too, or it connects anew (`tests/servers/test_cluster.py`)."""

from aggregator.cluster.report import UNHEARD_S, ReadBack


def looks(back: ReadBack, begun: float, end: float) -> bool:
    """Look a few times a second, and tell whether the reader was found deaf."""
    steps = round((end - begun) * 4)
    return True in [back.is_deaf(begun + step / 4) for step in range(steps + 1)]


def test_what_was_written_has_to_be_read_back_within_half_a_lease() -> None:
    back = ReadBack()
    assert not looks(back, 0, 100), "nothing was written"
    back.wrote(7)
    assert not looks(back, 100, 100 + UNHEARD_S)
    assert looks(back, 100 + UNHEARD_S, 101 + UNHEARD_S)


def test_a_reader_that_comes_late_and_goes_on_is_none_that_is_deaf() -> None:
    back = ReadBack()
    for number in range(1, 50):
        back.wrote(number)
        assert not looks(back, number * 2, number * 2 + 2)
        back.heard(number - 1)


def test_what_was_heard_before_its_acknowledgement_came_is_not_waited_for() -> None:
    back = ReadBack()
    back.heard(9)
    back.wrote(8)
    assert not looks(back, 0, 100)


def test_time_in_which_the_process_was_stopped_says_nothing_of_the_reader() -> None:
    back = ReadBack()
    back.wrote(7)
    assert not looks(back, 0, 1)
    assert not back.is_deaf(60)
    back.heard(7)
    assert not looks(back, 60, 100)
