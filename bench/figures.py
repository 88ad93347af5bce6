"""The figures by which two commits are compared, measured one by one as `bench.against` asks for them.

It runs in a copy of one commit with this tree's bench beside it. A figure that the commit does not have the means for
is said to be left out, with the reason.
"""

import json
import sys
from collections.abc import Callable, Generator
from contextlib import closing
from functools import partial
from pathlib import Path

Figure = Callable[[], float]  # microseconds of processor time per frame


def prepared(directory: Path) -> tuple[dict[str, Figure], dict[str, str]]:
    """The captures that this commit can be measured by, and those that it cannot, with the reason."""
    figures: dict[str, Figure] = {}
    left_out: dict[str, str] = {}
    for path in sorted(directory.iterdir()):
        try:
            figures[path.name] = hot_path(path)
        except Exception as error:  # noqa: BLE001 - another commit may fail in any way
            left_out[path.name] = said(error)
    return figures, left_out


def hot_path(path: Path) -> Figure:
    """A capture's frames to their lines: parser, session with all checks, bus and NDJSON.

    A first run is made at once, so that what fails, fails here.
    """
    from msgspec import msgpack

    from bench.frames import Capture
    from bench.hot import Bench
    from bench.measure import MICRO, pinned, processors

    capture = msgpack.decode(path.read_bytes(), type=Capture)
    bench = Bench(capture)

    def figure() -> float:
        with pinned(processors()[0]):
            return bench.lines() / len(capture.frames) * MICRO

    figure()
    return figure


def daemon(count: int) -> Generator[float, None, None]:
    """The daemon over loopback, to files and ten subscribers, as fast as it goes: started once, measured repeatedly."""
    from bench.daemon import Load, running

    with running(Load("as fast as it goes", clients=10, count=count)) as measure:
        while True:
            yield measure().cpu


def said(error: Exception) -> str:
    """An error in one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def main(directory: str, count: str) -> None:
    """Say what can be measured; then measure the figure that each line of the input names."""
    from bench import elsewhere

    elsewhere.find()
    from bench.measure import settle

    settle()
    figures, left_out = prepared(Path(directory))
    with closing(daemon(int(count))) as runs:
        figures["daemon"] = partial(next, runs)
        print(json.dumps({"figures": [*figures], "left_out": left_out}), flush=True)
        for line in sys.stdin:
            try:
                answer: dict[str, object] = {"cost": figures[line.strip()]()}
            except Exception as error:  # noqa: BLE001 - likewise
                answer = {"error": said(error)}
            print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
