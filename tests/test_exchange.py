"""The declarations of a connector: what cannot be right is refused where it is written."""

import pytest

from aggregator.exchange import Stream


def test_a_stream_declares_how_its_frames_are_read() -> None:
    with pytest.raises(TypeError, match=r"the stream pairs of wss://x\.test declares neither `parse` nor `parser`"):
        Stream(name="pairs", url="wss://x.test", channels={}, subscribe=lambda _topics, _number: ())
