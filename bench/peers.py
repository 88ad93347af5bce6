"""Other programs on the same captures, in turn with ours, on one processor: `python -m bench.peers`.

Each is installed into an environment of its own, once, under the cache directory. What is compared: a raw frame to
the program's own normalised objects, with the book kept where the program keeps one; nothing is encoded or written.
"""

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from bench import callbacks, captures, live
from bench.captures import CACHE, PROGRAM
from bench.frames import Capture, make
from bench.hot import Bench, Unreadable
from bench.measure import MICRO, conditions, pinned, processors, settle, show_conditions, table, write

HOME = CACHE / "peers"
SCRIPTS = PROGRAM.parent
FRAMES = 10_000
EXCHANGES = "binance,binanceusdm,bybit,deribit,kraken,okx"
REPEATS = 3  # of a capture in one turn of one program, which gives their median
NODE_FIGURE = re.compile(r"(\d+) out .*\(cpu ([\d.]+);")  # records that came out, microseconds a frame


class Peer(Struct, frozen=True):
    """A program to compare with: what is installed, how one capture is measured, and in what it is said.

    script: of the directory SCRIPTS, none where it is measured over a socket alone
    yields: the key of its report that counts what came out
    modern: whether it wants Python 3.13, where that is on this machine
    """

    name: str
    packages: tuple[str, ...]
    script: str = ""
    yields: str = ""
    modern: bool = False

    @property
    def home(self) -> Path:
        """The environment: named for what is in it, so that another version gets another."""
        return HOME / re.sub(r"[^a-z0-9.-]+", "-", self.packages[0])

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.home / "bin" / "python"


NAUTILUS = Peer("nautilus_trader", ("nautilus_trader==1.231.0", "uvloop"), modern=True)


def peers() -> list[Peer]:
    """Those whose interpreter is on this machine; what is missing is named and left out."""
    newest = "cryptofeed==3.0.1" if modern_python() else "cryptofeed==2.4.1"  # 3.0 needs Python 3.13
    found = [
        Peer("cryptofeed", (newest, "uvloop"), "peer_cryptofeed.py", "callbacks", modern=True),
        Peer("ccxt", ("ccxt==4.5.90", "orjson"), "peer_ccxt.py", "resolves"),
    ]
    if shutil.which("node") and shutil.which("npm"):
        return [*found, Peer("tardis-dev", ("tardis-dev@13.35",), "peer_tardis.cjs")]
    print("tardis-dev: left out: node and npm are not on this machine")
    return found


@cache
def modern_python() -> str | None:
    """A Python of 3.13 or later that runs here, also one of pyenv that is not switched on."""
    versions = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    for command in ("python3.13", "python3.14", "python3", *map(str, sorted(versions.glob("3.1[3-9]*/bin/python3")))):
        check = [command, "-c", "import sys, venv; sys.exit(sys.version_info < (3, 13))"]
        if shutil.which(command) and not subprocess.run(check, check=False, capture_output=True).returncode:  # noqa: S603
            return command
    return None


def install(peer: Peer) -> None:
    """Set up an environment that is not there yet. Raises CalledProcessError."""
    done = peer.home / "complete"
    if done.exists():
        return
    print(f"installing {' '.join(peer.packages)}", file=sys.stderr)
    shutil.rmtree(peer.home, ignore_errors=True)
    peer.home.mkdir(parents=True)
    if peer.script.endswith(".cjs"):
        _run(["npm", "install", "--no-audit", "--no-fund", "--silent", "--prefix", str(peer.home), *peer.packages])
    else:
        python = modern_python() if peer.modern else None
        _run([python or sys.executable, "-m", "venv", str(peer.home)])
        _run([str(peer.python), "-m", "pip", "install", "-qq", *peer.packages])
    done.touch()


def called_back() -> list[callbacks.Row]:
    """Ours beside nautilus_trader, to a callback; where it cannot be installed, that is said, and there are no rows."""
    if modern_python() is None:
        print("nautilus_trader: left out: its wheels want Python 3.12 or later, and no 3.13 was found on this machine")
        return []
    try:
        install(NAUTILUS)
    except subprocess.CalledProcessError:
        print(f"nautilus_trader: left out: {NAUTILUS.packages[0]} cannot be installed; what pip said stands above")
        return []
    return callbacks.report(NAUTILUS.python)


def _run(command: list[str], **more: str) -> str:
    return subprocess.run(command, check=True, env=os.environ | more, stdout=subprocess.PIPE, text=True).stdout  # noqa: S603


def measured(peer: Peer, path: Path) -> float | None:
    """Microseconds of processor time per frame; None where it makes nothing of these frames."""
    script = str(SCRIPTS / peer.script)
    try:
        if peer.script.endswith(".cjs"):
            said = _run(["node", script, str(path), "--reps", str(REPEATS)], NODE_PATH=str(peer.home / "node_modules"))
            figure = NODE_FIGURE.search(said)
            return float(figure[2]) if figure is not None and int(figure[1]) else None
        said = _run([str(peer.python), script, str(path), "--reps", str(REPEATS), "--json"])
        report = json.loads(said.splitlines()[-1])
        return float(report["cpu_us_msg"]) if report[peer.yields] else None
    except subprocess.CalledProcessError:
        return None


class Row(Struct):
    """One capture: microseconds per frame of ours ((b): parser, session, book), and of each peer."""

    exchange: str
    kind: str
    ours: float
    peers: dict[str, float | None]
    ratios: dict[str, float]


def compare(capture: Capture, path: Path, others: Sequence[Peer], rounds: int) -> Row:
    """Ours and all others in turn, several times; the median of each. Raises Unreadable."""
    bench = Bench(capture)
    scale = MICRO / len(capture.frames)
    ours: list[float] = []
    theirs: dict[str, list[float]] = {peer.name: [] for peer in others}
    for _ in range(rounds):
        ours.append(statistics.median(bench.session() for _ in range(REPEATS)) * scale)
        for peer in others:
            figure = measured(peer, path)
            if figure is not None:
                theirs[peer.name].append(figure)
    found = {name: statistics.median(figures) if figures else None for name, figures in theirs.items()}
    own = statistics.median(ours)
    ratios = {name: figure / own for name, figure in found.items() if figure is not None}
    return Row(capture.exchange, capture.kind, own, found, ratios)


def gathered(directory: Path, home: Path) -> Iterator[tuple[Capture, Path]]:
    """Every capture with the file that the peers' scripts read: the generator's, and trades that follow on each other.

    The generator numbers Binance's trades over all markets together, so that to ours some seem to be missing in each;
    in the last capture each market has its own numbers. The file has them as `aggTrade`, as cryptofeed reads them.
    """
    for path in captures.paths(directory):
        capture = captures.load(path, FRAMES)
        if capture is not None:
            yield capture, path
    capture = replace(make("binance", "trade", FRAMES), kind="trade, numbers that follow")
    path = home / "binance.trade.cap"
    live.save(capture, path)
    yield capture, path


def compared(
    found: Iterable[tuple[Capture, Path]], exchanges: Sequence[str], others: Sequence[Peer], rounds: int
) -> Iterator[Row]:
    """Every capture of these exchanges; what ours cannot read is named and left out."""
    with pinned(processors()[0]):
        for capture, path in found:
            if capture.exchange not in exchanges:
                continue
            print(f"{capture.exchange} {capture.kind}", file=sys.stderr)
            try:
                yield compare(capture, path, others, rounds)
            except Unreadable as error:
                print(f"{capture.exchange} {capture.kind}: left out: {error}")


def show(rows: Sequence[Row], others: Sequence[Peer]) -> None:
    """Print the table."""
    cells: list[list[object]] = []
    for row in rows:
        line: list[object] = [row.exchange, row.kind, row.ours]
        for peer in others:
            figure, ratio = row.peers[peer.name], row.ratios.get(peer.name)
            line += ["-" if figure is None else f"{figure:.2f}", "-" if ratio is None else f"{ratio:.1f}"]
        cells.append(line)
    head = ["exchange", "frames", "ours", *(word for peer in others for word in (peer.packages[0], "times ours"))]
    table("raw frame to normalised record, book kept: µs of processor time per frame", head, cells)


def main() -> None:
    """Install, measure, print."""
    parser = argparse.ArgumentParser(prog="python -m bench.peers", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--exchanges", default="binance,binanceusdm,okx,bybit,deribit,kraken", help="whose captures are compared"
    )
    parser.add_argument("--seconds", type=float, default=3, help="of each load over a socket; 0: none")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where the report is left")
    options = parser.parse_args()
    directory = captures.generated(FRAMES)
    if directory is None:
        sys.exit(f"{SCRIPTS} is not there: it holds the generator of captures and the scripts that drive the peers")
    others = peers()
    for peer in others:
        install(peer)
    show_conditions()
    settle()
    with tempfile.TemporaryDirectory() as home:
        found = gathered(directory, Path(home))
        rows = list(compared(found, options.exchanges.split(","), others, options.rounds))
    show(rows, others)
    lively = live.report(others[0].python, SCRIPTS, options.seconds) if options.seconds else []
    called = called_back() if options.seconds else []
    names = [peer.packages[0] for peer in others]
    report = {"conditions": conditions(), "peers": names, "rows": rows, "live": lively, "callbacks": called}
    write(options.json, report)


if __name__ == "__main__":
    main()
