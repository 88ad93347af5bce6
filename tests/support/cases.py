"""Cases of a model, each made by chance: played by hypothesis in a test, or by their seeds in a program of its own."""

import logging
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

Chance = Callable[[int, int], int]  # a number between two, both inclusive
RunCase = Callable[[Chance, Path], Counter[str]]  # plays one case in a directory that it makes; gives what was seen


def memory() -> str | None:
    """A directory on a disk that is memory, where there is one."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main(program: str, run_case: RunCase) -> None:
    """Play as many cases as the first argument says, from the seed on that the second says; count what was seen."""
    logging.disable(logging.CRITICAL)
    cases = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    first = int(sys.argv[2]) if len(sys.argv) > 2 else random.SystemRandom().randrange(1 << 40)
    seen: Counter[str] = Counter()
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(dir=memory()) as directory:
        for number in range(cases):
            seed = first + number
            try:
                seen += run_case(random.Random(seed).randint, Path(directory, "journal"))
            except BaseException:
                say(f"case {number} failed: python -m {program} 1 {seed}")
                raise
    say(f"{cases} cases from seed {first} on, no silent difference, {time.monotonic() - begun:.0f} s")
    for name, count in sorted(seen.items()):
        say(f"  {count:>10,} {name}")
