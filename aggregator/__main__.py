"""The program: `aggregator` or `python -m aggregator`."""

import os
import signal
import sys

from aggregator import SERVICES


def before_the_loop() -> None:
    """Be ready before anything is imported: a stop is a good end, and what asks for something later ends nothing."""
    if SERVICES.isdisjoint(sys.argv[1:2]):
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # an interrupt is no error that has a traceback
        return
    for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)
    for number in (signal.SIGINT, signal.SIGTERM):  # SIGTERM last: who sees it caught may send any of them
        signal.signal(number, lambda *_: os._exit(0))  # it may end at once: nothing has begun


def main() -> None:
    """Heed signals, and only then import what the command line needs."""
    before_the_loop()
    from aggregator.cli import main as run

    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    run()


if __name__ == "__main__":
    main()
