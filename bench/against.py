"""This tree against a commit, in turns: `make bench AGAINST=COMMIT`; docs/performance.md says how to read it.

Each side is a copy in a folder of its own, with the packages that its own constraints.txt pins and with this tree's
bench. A round starts both anew and lets them take turns at every figure, so that what else runs on the machine meets
both alike; it gives one ratio a figure. What is printed is the median of the rounds' ratios and how far they spread.
"""

import argparse
import io
import os
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from hashlib import sha256
from pathlib import Path

from msgspec import Struct, msgpack
from msgspec.structs import replace

from bench import frames
from bench.__main__ import EXCHANGES
from bench.captures import CACHE
from bench.daemon import heard, tell
from bench.measure import conditions, show_conditions, table, write

ROOT = Path(__file__).parents[1]
PARTS = ("aggregator", "connectors", "constraints.txt")  # of a commit; the bench is this tree's
FOR_TESTS = "\n# For tests"  # in constraints.txt: what follows is not needed here
DAEMON = "daemon"  # the figure of the whole daemon; every other one is of the hot path
HOT, BOTH = "hot path, geometric mean", "hot path and daemon, geometric mean"
HEAD = ("µs of processor time per frame", "this", "other", "ratio", "quartiles", "range")


class Extent(Struct, frozen=True):
    """How much is measured: in every round, so many frames of each capture and through the daemon, in turns a side."""

    exchanges: Sequence[str] = EXCHANGES
    frames: int = 2000
    turns: int = 4
    through_daemon: int = 30_000
    daemon_turns: int = 6
    rounds: int = 12  # an even number: in half of them either side begins


QUICK = Extent(EXCHANGES[-1:], frames=300, turns=2, through_daemon=10_000, daemon_turns=2, rounds=1)


class Side(Struct, frozen=True):
    """One of the two: what it is called, where its copy stands, and the interpreter that has its packages."""

    name: str
    home: Path
    python: Path


class Round(Struct):
    """What one round gave: each figure's least over a side's turns, for what else runs only adds."""

    this: dict[str, float]
    other: dict[str, float]

    def shared(self) -> set[str]:
        """The figures that both sides have."""
        return self.this.keys() & self.other.keys()

    def ratios(self, names: Iterable[str]) -> dict[str, float]:
        """This over the other: of these figures, and the means of them."""
        found = {name: self.this[name] / self.other[name] for name in names}
        hot = [ratio for name, ratio in found.items() if name != DAEMON]
        if hot:
            found[HOT] = statistics.geometric_mean(hot)
        if hot and DAEMON in found:
            found[BOTH] = statistics.geometric_mean([found[HOT], found[DAEMON]])
        return found


class Row(Struct):
    """One line of the table; a mean has no cost of its own."""

    name: str
    costs: tuple[float, float] | None
    ratio: float
    quartiles: tuple[float, float]
    range: tuple[float, float]

    def cells(self) -> list[object]:
        """How it stands there."""
        spreads = ["{:.3f} to {:.3f}".format(*ends) for ends in (self.quartiles, self.range)]
        return [self.name, *(self.costs or ("", "")), f"{self.ratio:.3f}", *spreads]


def rows(rounds: Sequence[Round]) -> list[Row]:
    """What every round has measured, in short: medians, and how far the ratios spread; the means last."""
    names = sorted(set.intersection(*(found.shared() for found in rounds)))
    ratios = [found.ratios(names) for found in rounds]
    return [_row(name, rounds, [found[name] for found in ratios]) for name in sorted(ratios[0], key=_place)]


def _row(name: str, rounds: Sequence[Round], ratios: Sequence[float]) -> Row:
    low, middle, high = statistics.quantiles(ratios, n=4, method="inclusive") if len(ratios) > 1 else [*ratios] * 3
    costs = None
    if name in rounds[0].this:
        costs = (
            statistics.median(found.this[name] for found in rounds),
            statistics.median(found.other[name] for found in rounds),
        )
    return Row(name, costs, middle, (low, high), (min(ratios), max(ratios)))


def _place(name: str) -> int:
    return 1 + (HOT, DAEMON, BOTH).index(name) if name in {HOT, DAEMON, BOTH} else 0


def order(turns: int, number: int) -> list[int]:
    """Whose turn it is, 0 or 1, where each has so many: A B B A A B ..., and in every other round B A A B B A ..."""
    return [((at + 1) // 2 + number) % 2 for at in range(2 * turns)]


def copied(commit: str | None, home: Path) -> Side:
    """A copy of a commit, or of the files as they stand here, with this tree's bench. Raises SystemExit."""
    home.mkdir()
    if commit is None:
        for part in PARTS:
            copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
            copy(ROOT / part, home / part)
        name = "this tree"
    else:
        name = git("rev-parse", "--short", "--verify", f"{commit}^{{commit}}").decode().strip()
        with tarfile.open(fileobj=io.BytesIO(git("archive", name, *PARTS))) as archive:
            archive.extractall(home, filter="data")
    shutil.copytree(ROOT / "bench", home / "bench")
    python = environment(home / "constraints.txt")
    # Compiled beforehand: nobody's first run is to pay for it.
    subprocess.run([str(python), "-m", "compileall", "-qq", str(home)], check=True)  # noqa: S603
    return Side(name, home, python)


def git(*words: str) -> bytes:
    """What git says of this repository. Raises SystemExit with its complaint."""
    done = subprocess.run(["git", "-C", str(ROOT), *words], check=False, capture_output=True)  # noqa: S603, S607
    if done.returncode:
        sys.exit(f"git {' '.join(words)}: {done.stderr.decode().strip()}")
    return done.stdout


def environment(constraints: Path) -> Path:
    """The interpreter of an environment with what a commit pins, made once for all commits that pin the same."""
    pins = constraints.read_text().partition(FOR_TESTS)[0]
    made_of = sha256(f"{sys.version}\n{sys.base_prefix}\n{pins}".encode()).hexdigest()
    home = CACHE / "against" / made_of[:16]
    if not home.exists():
        print(f"installing what {constraints} pins into {home}", file=sys.stderr)
        rough = home.with_suffix(f".{os.getpid()}")
        rough.mkdir(parents=True)
        (rough / "pins.txt").write_text(pins)
        pip = [str(rough / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "--no-input", "-qq"]
        subprocess.run([sys.executable, "-m", "venv", str(rough)], check=True)  # noqa: S603
        subprocess.run([*pip, "install", "--require-hashes", "-r", str(rough / "pins.txt")], check=True)  # noqa: S603
        try:
            rough.rename(home)
        except OSError:  # another run was first
            shutil.rmtree(rough)
    return home / "bin" / "python"


def save_captures(directory: Path, extent: Extent) -> None:
    """Leave the frames for both sides, one file a capture."""
    directory.mkdir()
    for exchange in extent.exchanges:
        for kind in frames.kinds(exchange):
            (directory / f"{exchange} {kind}").write_bytes(msgpack.encode(frames.make(exchange, kind, extent.frames)))


def measure(sides: Sequence[Side], captures: Path, extent: Extent, number: int) -> tuple[Round, dict[str, str]]:
    """One round: both sides as new processes that take turns. Gives also what cannot be compared, with the reason."""
    costs: tuple[dict[str, list[float]], dict[str, list[float]]] = ({}, {})
    left_out: dict[str, str] = {}
    with ExitStack() as stack:
        running = [stack.enter_context(start(side, captures, extent, number)) for side in sides]
        ready = [heard(one) for one in running]
        for side, said in zip(sides, ready, strict=True):
            left_out |= {name: f"{side.name}: {error}" for name, error in said["left_out"].items()}
        for name in (name for name in ready[0]["figures"] if name not in left_out):
            for at in order(extent.daemon_turns if name == DAEMON else extent.turns, number):
                tell(running[at], name)
                answer = heard(running[at])
                if "error" in answer:
                    left_out[name] = f"{sides[at].name}: {answer['error']}"
                    break
                costs[at].setdefault(name, []).append(answer["cost"])
    this, other = ({name: least(turns) for name, turns in found.items() if name not in left_out} for found in costs)
    return Round(this, other), left_out


def least(turns: Sequence[float]) -> float:
    """What a side's turns come to. The first only warms up: in it the other side's daemon may not run yet."""
    return min(turns[1:])


def start(side: Side, captures: Path, extent: Extent, number: int) -> subprocess.Popen[str]:
    """A process that measures one side; both sides of a round have the same seed of hashes."""
    command = [str(side.python), "-m", "bench.figures", str(captures), str(extent.through_daemon)]
    env = os.environ | {"PYTHONPATH": str(side.home), "PYTHONHASHSEED": str(number)}
    pipe = subprocess.PIPE
    return subprocess.Popen(command, text=True, stdin=pipe, stdout=pipe, cwd=side.home, env=env)  # noqa: S603


def compare(sides: Sequence[Side], captures: Path, extent: Extent) -> tuple[list[Row], dict[str, str]]:
    """All rounds."""
    rounds: list[Round] = []
    left_out: dict[str, str] = {}
    for number in range(extent.rounds):
        found, without = measure(sides, captures, extent, number)
        rounds.append(found)
        left_out |= without
        means = {name: ratio for name, ratio in found.ratios(found.shared()).items() if name in {HOT, DAEMON}}
        said = ", ".join(f"{name} {ratio:.3f}" for name, ratio in means.items())
        print(f"round {number + 1} of {extent.rounds}: {said}", file=sys.stderr)
    return rows(rounds), left_out


def arguments() -> argparse.Namespace:
    """What is asked."""
    parser = argparse.ArgumentParser(prog="python -m bench.against", description=__doc__)
    parser.add_argument("against", metavar="COMMIT", help="the commit to compare with")
    parser.add_argument("--commit", help="what is compared; without it, the files as they stand here")
    parser.add_argument("--rounds", type=int, help=f"without it, {Extent().rounds}")
    parser.add_argument("--exchanges", help=f"whose frames are made; without it, {','.join(EXCHANGES)}")
    parser.add_argument("--quick", action="store_true", help="one short round, which only shows that it runs")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where the report is left")
    return parser.parse_args()


def main() -> None:
    """Copy, measure in turns, print."""
    options = arguments()
    extent = QUICK if options.quick else Extent()
    if options.exchanges:
        extent = replace(extent, exchanges=options.exchanges.split(","))
    if options.rounds:
        extent = replace(extent, rounds=options.rounds)
    with tempfile.TemporaryDirectory() as directory:
        home = Path(directory)
        sides = (copied(options.commit, home / "one"), copied(options.against, home / "two"))
        save_captures(home / "captures", extent)
        show_conditions()
        found, left_out = compare(sides, home / "captures", extent)
    table(f"{sides[0].name} over {sides[1].name}, {extent.rounds} rounds", HEAD, [row.cells() for row in found])
    for name, error in left_out.items():
        print(f"{name}: not comparable: {error}")
    names = [side.name for side in sides]
    write(options.json, {"conditions": conditions(), "sides": names, "rows": found, "left_out": left_out})


if __name__ == "__main__":
    main()
