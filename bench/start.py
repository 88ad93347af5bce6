"""How long the program takes to start: seconds from nothing to an answer, each the median of several processes."""

import statistics
import subprocess
import sys
import time

from bench.measure import as_installed, table

COMMANDS = {
    "python alone": ["-c", ""],
    "import aggregator.client": ["-c", "import aggregator.client"],
    "import aggregator.daemon.daemon": ["-c", "import aggregator.daemon.daemon"],
    "aggregator --help": ["-m", "aggregator", "--help"],
}


def report(rounds: int) -> dict[str, float]:
    """Start each several times in turn, and print the table."""
    as_installed()
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(rounds):
        for name, arguments in COMMANDS.items():
            start = time.monotonic()
            subprocess.run([sys.executable, *arguments], check=True, capture_output=True)  # noqa: S603 - ourselves
            times[name].append(time.monotonic() - start)
    found = {name: statistics.median(of_command) * 1000 for name, of_command in times.items()}
    table("start: milliseconds", ("command", "ms"), list(found.items()))
    return found
