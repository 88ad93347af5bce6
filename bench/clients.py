"""Many subscribers of a feed in one process: each takes everything, and throws it away."""

import selectors
import socket
import sys

CHUNK = 1 << 18


def main(path: str, count: int) -> None:
    """Connect so many, say so, and read until the feed ends or the input does."""
    selector = selectors.DefaultSelector()
    for _ in range(count):
        line = socket.socket(socket.AF_UNIX)
        line.connect(path)
        line.sendall(b'{"op":"subscribe","topics":["*:*:*"],"snapshot":false}\n')
        line.settimeout(0)
        selector.register(line, selectors.EVENT_READ)
    selector.register(sys.stdin, selectors.EVENT_READ)
    print("{}", flush=True)
    room = bytearray(CHUNK)
    while True:
        for key, _ in selector.select():
            if key.fileobj is sys.stdin:
                return
            if isinstance(key.fileobj, socket.socket) and not key.fileobj.recv_into(room):
                return


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
