"""The program: `aggregator` or `python -m aggregator`."""

import os
import signal
import sys

from aggregator import SERVICES


def before_the_loop() -> None:
    """Be ready before anything is imported: a stop is a good end, and what asks for something later ends nothing."""
    if SERVICES.isdisjoint(sys.argv[1:2]):
        return
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))  # it may end at once: nothing has begun
    for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)


def main() -> None:
    """Heed signals, and only then import what the command line needs."""
    before_the_loop()
    from aggregator.cli import main as run

    run()


if __name__ == "__main__":
    main()
