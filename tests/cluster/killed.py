"""Members and nodes are killed, stopped and ended while records flow; a reader is compared with an oracle.

`python -m tests.cluster.killed --acts kill=50 --rate 19000` starts a simulated exchange, nodes of NATS, three members,
a reader and a daemon alone, which is the oracle. It says which trades and changes of books the oracle has and the
reader has not, and which came twice; and of each owner that is gone after what time another one was there.

The acts come in an order of chance, each once a second member stands by: `kill`: a member is killed; `end`: it is ended
as its service manager does, and begun anew, as with another version; `roll`: that is done to all members, one after the
other; `stop`: one is stopped for twenty seconds, and goes on; `node`: a node of NATS is killed; `hang`: one is stopped
for ten seconds, and goes on. Of two members and of two nodes that is rather the one that leads. Where members are only
ended, no gap may be told.

`all`: every node of NATS is killed at once, and all begin again five seconds later. `--before FOLDER` has members, or
with `--reads-before` the reader too, begin with the program of that folder, as an earlier commit left it; a member that
begins anew does so with the program of here.
"""

import argparse
import asyncio
import json
import random
import shutil
import signal
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path

from tests.cluster.nodes import MEMBER, ORACLE, READER, Daemon, addresses, nats_nodes, owner_of, until_owned
from tests.cluster.watching import Watching
from tests.support.cases import say
from tests.support.killed_daemons import PROGRAM, ROOT
from tests.support.servers import LOOPBACK, Server

NAMES = ("amber", "birch", "cedar")
EXCHANGE = "binance"
LATELY_NS = 4_000_000_000
ACTS = ("kill", "end", "roll", "stop", "node", "hang", "all")
AWAY_S = 5.0
Key = tuple[str, str, int | str]


def keys_of(lines: Iterator[bytes]) -> Iterator[tuple[Key, int]]:
    """Trades and changes of books: what tells each from all others, and when it came."""
    for line in lines:
        if line.startswith((b'{"type":"trade"', b'{"type":"book_delta"')):
            row = json.loads(line)
            number = row.get("id") or row.get("sequence")
            yield (row["type"], row["raw_symbol"], number), row["ts_recv"]


def simulated(home: Path, rate: float, host: str = LOOPBACK) -> tuple[subprocess.Popen[bytes], str]:
    """A simulated exchange, and what a configuration says of it."""
    config = home / "sandbox.toml"
    options = ["--simulate", EXCHANGE, "--host", host, "--port", "0", "--rate", str(rate), "--config-out", str(config)]
    sandbox = subprocess.Popen([*PROGRAM, "sandbox", *options], stderr=subprocess.PIPE, cwd=ROOT)
    assert sandbox.stderr is not None
    sandbox.stderr.readline()
    written = config.read_text().partition("[[sinks]]")[0]
    kept = [line for line in written.splitlines() if not line.startswith("channels")]
    at = kept.index(f'id = "{EXCHANGE}"') + 1
    kept.insert(at, 'channels = ["trades", "book"]')
    return sandbox, "\n".join(kept[kept.index("[[exchanges]]") :])


def program_of(folder: Path) -> tuple[str, ...]:
    """The beginning of a command line that runs the program of a folder."""
    return "env", "-C", str(folder.resolve()), f"PYTHONPATH={folder.resolve()}"


def pauses(times: list[int]) -> list[float]:
    """Seconds between records of the reader that are longer than two."""
    return [round((b - a) / 1e9, 1) for a, b in pairwise(times) if b - a > 2_000_000_000]


def judge(reader: Daemon, oracle: Daemon, until_ns: int, *, is_gap_wrong: bool = False) -> int:
    """Say what is missing and what came twice; gives how many are, and how many gaps were told where none may be."""
    told = list(keys_of(reader.lines()))
    came = Counter(key for key, _ in told)
    first = min(at for _, at in told)
    last = max(at for _, at in told)
    margin = 5_000_000_000  # the oracle and the members hear the same at other moments
    wanted = {key for key, at in keys_of(oracle.lines()) if first + margin < at < last - margin}
    missing = wanted - came.keys()
    twice = [key for key, count in came.items() if count > 1]
    gaps = Counter(
        (row["phase"], row["cause"], row.get("repair"))
        for line in reader.lines()
        if line.startswith(b'{"type":"gap"')
        for row in [json.loads(line)]
        if row["ts_recv"] < until_ns
    )
    flow = f"{len(came) * 1e9 / (last - first):,.0f} a second"
    say(f"{len(came)} records at the reader, {flow}; {len(wanted)} wanted by the oracle")
    say(f"{len(missing)} missing {sorted(missing, key=str)[:3]}, {len(twice)} twice {twice[:3]}")
    say(f"gaps told: {dict(gaps)}")
    return len(missing) + len(twice) + (sum(gaps.values()) if is_gap_wrong else 0)


class World:
    """All that runs, and what is done to it."""

    def __init__(
        self, daemons: dict[str, Daemon], nodes: list[Server], watching: Watching, chance: random.Random
    ) -> None:
        self.watching = watching
        self.daemons = daemons
        self.nodes = nodes
        self.chance = chance
        self.waits: list[float] = []

    def member(self) -> str:
        owner, _ = until_owned(self.daemons)
        return owner if self.chance.random() < 0.6 else self.chance.choice(NAMES)

    def gone(self, name: str, owner: str) -> str:
        """Wait for another owner, where the one that is gone owned the exchange; in words."""
        if name != owner:
            return "and owned nothing"
        other, waited = until_owned(self.daemons, but=name)
        self.waits.append(round(waited, 1))
        return f"and owned it; {other} owns it after {waited:.1f} s"

    def kill(self) -> str:
        name, owner = self.member(), owner_of(self.daemons)
        self.daemons[name].end(signal.SIGKILL)
        said = self.gone(name, owner)
        time.sleep(self.chance.uniform(0, 5))
        self.daemons[name].start()
        return f"{name} was killed, {said}"

    def end(self) -> str:
        name, owner = self.member(), owner_of(self.daemons)
        self.daemons[name].end(signal.SIGTERM)
        said = self.gone(name, owner)
        self.daemons[name].start()
        return f"{name} was ended, {said}"

    def roll(self) -> str:
        """End and begin every member, each once the one before could go on."""
        waited = []
        for name in NAMES:
            until_owned(self.daemons)
            before, begun = self.watching.life(name), time.monotonic()
            self.daemons[name].end(signal.SIGTERM)
            self.daemons[name].start()
            self.until_ready(name, before)
            waited.append(round(time.monotonic() - begun, 1))
        return f"all members were ended and begun anew; each stood by again after {waited} s"

    def until_stood_by(self, patience: float = 240.0) -> None:
        """Wait until another one than the owner has said lately that it could go on: of two that die nobody knows more.

        On a machine that has much else to do a member may take a minute to begin.
        """
        end = time.monotonic() + patience
        while time.monotonic() < end:
            owner, since = owner_of(self.daemons), time.time_ns() - LATELY_NS
            if owner and any(self.watching.is_ready(n, EXCHANGE, since) for n in NAMES if n != owner):
                return
            time.sleep(0.2)
        raise TimeoutError(f"nobody stands by after {patience:.0f} s")

    def until_ready(self, name: str, before: str, patience: float = 120.0) -> None:
        """Wait until a new life of a member could go on, or owns, or another two do."""
        end = time.monotonic() + patience
        while time.monotonic() < end:
            is_new = self.watching.life(name) not in {"", before}
            able = [each for each in NAMES if self.watching.is_ready(each, EXCHANGE)]
            if is_new and (name in able or len(able) > 1):
                return
            time.sleep(0.2)
        raise TimeoutError(f"{name} is not ready after {patience:.0f} s")

    def stop(self) -> str:
        name, owner = self.member(), owner_of(self.daemons)
        self.daemons[name].signal(signal.SIGSTOP)
        said = self.gone(name, owner)
        time.sleep(20)
        self.daemons[name].signal(signal.SIGCONT)
        return f"{name} was stopped, {said}"

    def node(self) -> str:
        number = self.leader()
        self.nodes[number].kill()
        time.sleep(self.chance.uniform(5, 15))
        self.nodes[number].start()
        return f"the node n{number} was killed, which led the stream, and came again"

    def hang(self) -> str:
        number = self.leader()
        self.nodes[number].hang()
        time.sleep(10)
        self.nodes[number].go_on()
        return f"the node n{number} was stopped, which led the stream, and went on"

    def all(self) -> str:
        for node in self.nodes:
            node.kill()
        time.sleep(AWAY_S)
        with ThreadPoolExecutor(len(self.nodes)) as at_once:  # none answers before most are there
            list(at_once.map(Server.start, self.nodes))
        self.until_stood_by()
        return "every node was killed, and came again"

    def leader(self) -> int:
        """The number of the node that leads the stream."""

        async def asked() -> int:
            import nats

            client = await nats.connect([f"nats://127.0.0.1:{node.port}" for node in self.nodes])
            try:
                info = await client.jetstream().stream_info(f"cluster-{EXCHANGE}")
                return int((info.cluster.leader or "n0" if info.cluster else "n0")[1:])
            finally:
                await client.close()

        return asyncio.run(asked())


def acts(text: str) -> list[str]:
    """`kill=3,end=2` as a list of acts. Raises ValueError."""
    found = []
    for part in text.split(","):
        name, _, count = part.partition("=")
        if name not in ACTS:
            raise ValueError(f"{name!r} is none of {', '.join(ACTS)}")
        found += [name] * int(count or 1)
    return found


def asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--acts", type=acts, default=["kill"] * 50)
    parser.add_argument("--rate", type=float, default=19000, help="of the sandbox; 5,000 are trades and books")
    parser.add_argument("--nodes", type=int, default=3, help="of NATS")
    parser.add_argument("--pause", type=float, default=25, help="seconds until the next act")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 30))
    parser.add_argument("--before", type=Path, help="the folder of the program with which members begin")
    parser.add_argument("--reads-before", action="store_true", help="the reader has that program too")
    parser.add_argument("--home", type=Path)
    return parser.parse_args()


def main() -> None:
    arguments = asked()
    home = arguments.home or Path(tempfile.mkdtemp(prefix="cluster-"))
    home.mkdir(exist_ok=True)
    chance = random.Random(arguments.seed)
    say(f"seed {arguments.seed}, in {home}")
    with ExitStack() as stack:
        sandbox, exchanges = simulated(home, arguments.rate)
        stack.callback(sandbox.kill)
        nodes = stack.enter_context(nats_nodes(home, arguments.nodes))
        known = {"exchanges": exchanges, "servers": addresses(nodes), "replicas": min(3, arguments.nodes)}
        before = () if arguments.before is None else program_of(arguments.before)
        daemons = {
            name: Daemon(home / name, MEMBER.format(home=home / name, name=name, **known), before) for name in NAMES
        }
        oracle = Daemon(home / "oracle", ORACLE.format(home=home / "oracle", **known))
        reads = READER.format(home=home / "reader", exchange=EXCHANGE, **known)
        reader = Daemon(home / "reader", reads, before if arguments.reads_before else ())
        for daemon in (*daemons.values(), oracle, reader):
            stack.callback(daemon.abandon)
            daemon.start()
        for daemon in daemons.values():
            daemon.inside = ()
        watching = Watching(reader, json.loads(str(known["servers"])))
        world = World(daemons, nodes, watching, chance)
        owner, _ = until_owned(daemons)
        watching.begin()
        say(f"{owner} owns {EXCHANGE}")
        time.sleep(arguments.pause)
        planned = chance.sample(arguments.acts, len(arguments.acts))
        for number, act in enumerate(planned, 1):
            world.until_stood_by()
            begun = time.monotonic()
            said = getattr(world, act)()
            time.sleep(arguments.pause)
            say(f"{number}: {said}; the longest pause at the reader was {watching.longest(begun):.1f} s")
        time.sleep(10)
        watching.end()
        costs = [f"{each.home.name} {each.cpu():.1f}" for each in (*daemons.values(), reader, oracle)]
        say(f"seconds of a core that each has taken, in its last life: {', '.join(costs)}")
        ended_ns = time.time_ns()  # the reader tells a gap when it ends itself
        for daemon in (reader, oracle):
            daemon.end(signal.SIGTERM)
        wrong = judge(reader, oracle, ended_ns, is_gap_wrong={"end", "roll"}.issuperset(planned))
        say(f"the longest pause at the reader was {watching.longest():.1f} s")
        say(
            f"an owner held at most {watching.held} records of 400000 that may wait; {watching.lost} were lost for that"
        )
        say(f"owned again after at most {max(world.waits, default=0)} s of {world.waits}")
        say(f"pauses in what was gathered, as the reader has it: {pauses([at for _, at in keys_of(reader.lines())])}")
    if not wrong and arguments.home is None:
        shutil.rmtree(home)
    raise SystemExit(1 if wrong else 0)


if __name__ == "__main__":
    main()
