"""Readers of a feed that only count: `python -m bench.clients ADDRESS KIND FIRST COUNT PARTS TOPIC...`.

Many subscribers in one process, which does as little as can be: the clients FIRST, FIRST + 1 and so on, COUNT of them,
each with every PARTS-th of the topics. With PARTS 0 they throw away what comes. Else they count bytes and trades, and
follow the offsets: topics take turns in the stream, so that each trade is PARTS behind the one before, unless a `lag`
tells of the hole between. For each line of its input the process prints the counts of all, as JSON; it ends with its
input.
"""

import json
import re
import selectors
import socket
import sys
from collections.abc import Sequence

ROOM = 1 << 18
TRADE, LAG, OFFSET = b'"type":"trade"', b'"type":"lag"', b'"offset":'
NUMBER = re.compile(rb'"(offset|missed|offset_from|offset_to)":(\d+)')


class Reader:
    """One subscriber.

    last: the offset of the last trade that came, or was told as missed
    missed: trades that were told as missed
    wrong: trades that are neither here nor told, or came twice, and lags that do not say where the hole is
    """

    def __init__(self, line: socket.socket, step: int, last: int) -> None:
        self.line = line
        self.bytes = self.trades = self.lags = self.missed = self.wrong = 0
        self.last = last
        self._step = step
        self._room = bytearray(ROOM)
        self._view = memoryview(self._room)
        self._held = 0  # bytes of a line whose end has not come yet

    def read(self) -> bool:
        """Take what has come; tell whether more may."""
        size = self.line.recv_into(self._view[self._held :])
        self.bytes += size
        if self._step and size:
            self._count(self._held + size)
        return bool(size)

    def _count(self, end: int) -> None:
        room = self._room
        cut = room.rfind(b"\n", 0, end) + 1
        count = room.count(TRADE, 0, cut)
        if not self._follows(cut, count) and (count or room.find(LAG, 0, cut) >= 0):
            self._look(bytes(self._view[:cut]))
        self._held = end - cut
        room[: self._held] = room[cut:end]

    def _follows(self, cut: int, count: int) -> bool:
        """Take trades all at once, if they follow each other and the last one."""
        if not count:
            return False
        first = self._offset(self._room.find(OFFSET, self._room.find(TRADE)))
        last = self._offset(self._room.rfind(OFFSET, 0, cut))
        if first != self.last + self._step or last - first != (count - 1) * self._step:
            return False
        self.trades += count
        self.last = last
        return True

    def _offset(self, at: int) -> int:
        start = at + len(OFFSET)
        return int(self._room[start : self._room.find(b",", start)])

    def _look(self, lines: bytes) -> None:
        """Take trades and lags one by one."""
        for line in lines.split(b"\n"):
            if TRADE not in line and LAG not in line:
                continue
            found = {name: int(number) for name, number in NUMBER.findall(line)}
            due = self.last + self._step
            if TRADE in line:
                self.trades += 1
                self.wrong += found[b"offset"] != due
                self.last = found[b"offset"]
            else:
                first, last, missed = found[b"offset_from"], found[b"offset_to"], found[b"missed"]
                self.lags += 1
                self.missed += missed
                self.wrong += first != due or last - first != (missed - 1) * self._step
                self.last = last

    def counts(self) -> dict[str, int]:
        """The counts, as they stand."""
        return {name: getattr(self, name) for name in ("bytes", "trades", "lags", "missed", "wrong", "last")}


def asked(kind: str, topics: Sequence[str]) -> bytes:
    """The bytes with which a client of a kind subscribes."""
    if kind == "events":
        return f"GET /events?topic={'&topic='.join(topics)} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    line = json.dumps({"op": "subscribe", "topics": topics, "snapshot": False}).encode()
    if kind != "websocket":
        return line + b"\n"
    head = (
        b"GET /feed HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    line = line.ljust(1 << 7)  # the length of its frame has 16 bits, and the mask is nought
    return head + b"\x81\xfe" + len(line).to_bytes(2, "big") + bytes(4) + line


def connect(address: str, kind: str, topics: Sequence[str]) -> socket.socket:
    """Connect one client, and let it subscribe."""
    scheme, _, place = address.partition(":")
    if scheme == "unix":
        line = socket.socket(socket.AF_UNIX)
        line.connect(place)
    else:
        host, _, port = place.rpartition(":")
        line = socket.create_connection((host, int(port)))
    line.sendall(asked(kind, topics))
    line.setblocking(False)  # noqa: FBT003 - the standard library's own signature
    return line


def main(address: str, kind: str, numbers: range, parts: int, topics: Sequence[str]) -> None:
    """Be these clients until the input ends."""
    selector = selectors.DefaultSelector()
    readers = []
    for number in numbers:
        part = number % parts if parts else 0
        line = connect(address, kind, topics[part :: parts or 1])
        readers.append(Reader(line, parts, part + 1 - parts))  # the first offset of a stream is 1
        selector.register(line, selectors.EVENT_READ, readers[-1])
    selector.register(sys.stdin, selectors.EVENT_READ)
    print("{}", flush=True)
    while True:
        for key, _ in selector.select():
            if key.data is not None:
                if not key.data.read():
                    selector.unregister(key.fileobj)
            elif sys.stdin.readline():
                print(json.dumps([reader.counts() for reader in readers]), flush=True)
            else:
                return


if __name__ == "__main__":
    start, count = int(sys.argv[3]), int(sys.argv[4])
    main(sys.argv[1], sys.argv[2], range(start, start + count), int(sys.argv[5]), sys.argv[6:])
