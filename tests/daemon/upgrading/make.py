"""Make what a build leaves behind: its configuration, its state and its files, after a good end and after a kill.

    python tests/daemon/upgrading/make.py COMMIT

checks the commit out beside this repository, runs its own sandbox and daemon for a few seconds, and packs what they
leave into `COMMIT-ended.tar.gz` and `COMMIT-killed.tar.gz` beside this file. `test_upgrading.py` starts on these.
"""

import os
import re
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
RUN_S = 7.0
HOW = {"ended": signal.SIGTERM, "killed": signal.SIGKILL}
SINK = '[[sinks]]\ntype = "files"\npath = "data"\n'


def main(commit: str) -> None:
    with tempfile.TemporaryDirectory() as directory:
        tree = Path(directory, "tree")
        subprocess.run(["git", "worktree", "add", "--detach", str(tree), commit], cwd=HERE, check=True)
        try:
            for how, number in HOW.items():
                leave_behind(tree, Path(directory, how), number)
                with tarfile.open(HERE / f"{commit}-{how}.tar.gz", "w:gz") as archive:
                    for name in ("aggregator.toml", "state", "data"):
                        archive.add(Path(directory, how, name), name)
        finally:
            subprocess.run(["git", "worktree", "remove", "--force", str(tree)], cwd=HERE, check=True)


def leave_behind(tree: Path, place: Path, number: signal.Signals) -> None:
    """Run the build in `tree` at `place`, and end it by a signal."""
    place.mkdir()
    program = [sys.executable, "-m", "aggregator"]
    env = os.environ | {"PYTHONPATH": str(tree)}
    options = ["--simulate", "kraken,binance", "--port", "0", "--rate", "40", "--config-out", "sandbox.toml"]
    sandbox = subprocess.Popen([*program, "sandbox", *options], cwd=place, env=env)
    try:
        while not (place / "sandbox.toml").exists() or "[[sinks]]" not in (place / "sandbox.toml").read_text():
            time.sleep(0.1)
        config = (place / "sandbox.toml").read_text().partition("[[sinks]]")[0].replace('["*"]', '["BTC/*"]')
        config = re.sub("channels = .*", 'channels = ["trades", "book"]', config)
        (place / "aggregator.toml").write_text(f'state = "state"\n{config}{SINK}')
        daemon = subprocess.Popen([*program, "run", "--config", "aggregator.toml"], cwd=place, env=env)
        time.sleep(RUN_S)
        daemon.send_signal(number)
        daemon.wait()
    finally:
        sandbox.terminate()
        sandbox.wait()


if __name__ == "__main__":
    main(sys.argv[1])
