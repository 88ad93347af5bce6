"""Make the journal that a build leaves: of a life that ended, whose file is closed, and of one that was killed.

    python tests/sinks/journals/make.py COMMIT

checks the commit out beside this repository, has its own code write, and packs that into `COMMIT.tar.gz` beside this
file. `test_journal_of_builds.py` reads them.
"""

import asyncio
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
FIRST, SECOND = "20260102T030405.000000Z", "20260102T040000.000000Z"
BASE_NS = 1_767_323_045_000_000_000


def main(commit: str) -> None:
    with tempfile.TemporaryDirectory() as directory:
        tree, journal = Path(directory, "tree"), Path(directory, "journal")
        subprocess.run(["git", "worktree", "add", "--detach", str(tree), commit], cwd=HERE, check=True)
        try:
            journal.mkdir()
            for life in (FIRST, SECOND):
                program = [sys.executable, str(Path(__file__).resolve()), life, str(journal)]
                subprocess.run(program, env=os.environ | {"PYTHONPATH": str(tree)}, check=True)
            with tarfile.open(HERE / f"{commit}.tar.gz", "w:gz") as archive:
                archive.add(journal, ".")
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", str(tree)], cwd=HERE, check=True)


async def live(epoch: str, path: Path) -> None:
    """Write, and end: the first life as it should, the second as by a kill."""
    from aggregator.bus.bus import Bus
    from aggregator.records import BookDelta, BookSnapshot, Health, Record, Trade
    from aggregator.sinks.journal.sink import SINK
    from aggregator.sinks.running import running

    def record(number: int) -> Record:
        symbol = "AB"[number % 2]
        names = {"exchange": "alpha", "symbol": symbol, "raw_symbol": symbol, "ts_recv": BASE_NS + number}
        match number % 10:
            case 0:
                return BookSnapshot(**names, bids=[("1.50", str(number))], asks=[("1.60", "2")])  # type: ignore[arg-type]
            case 1:
                return BookDelta(**names, bids=[("1.50", "0")], asks=[])  # type: ignore[arg-type]
            case 2:
                return Health(**names, channel="trades", state="live")  # type: ignore[arg-type]
        return Trade(**names, id=str(number), price="1.50", size=str(number), side="buy")  # type: ignore[arg-type]

    bus = Bus(epoch)
    sink = running(SINK.configured(path=path, keep=1e9, keep_bytes=1 << 40), bus)
    await sink.start()
    numbers = range(300) if epoch == FIRST else range(300, 500)
    for start in range(numbers.start, numbers.stop, 20):
        bus.publish([record(number) for number in range(start, start + 20)])
    while epoch == SECOND:
        await asyncio.sleep(0.1)
        if bus.history is not None and not bus.history.status().held and not list(path.glob("*1.open")):
            os._exit(0)
    sink.end()
    if sink.task is not None:
        await sink.task


if __name__ == "__main__":
    if len(sys.argv) == 2:
        main(sys.argv[1])
    else:
        asyncio.run(live(sys.argv[1], Path(sys.argv[2])))
