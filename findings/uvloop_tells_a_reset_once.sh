#!/usr/bin/env bash
# uvloop 0.23.0: a callback of `loop.add_reader` is called once for a TCP socket on which data and a reset have come
# together. If it reads the data, it is never called again, though the socket stays readable (the next `recv` raises
# ConnectionResetError) and the callback was not removed; asyncio's own loop calls it until it has read that, too. So a
# server that reads once in each call never learns that such a client has gone.
#
# Seen on Python 3.11.7, Linux:
#   asyncio: b'abc', ConnectionResetError
#   uvloop: b'abc'
#   what uvloop did not tell: ConnectionResetError
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check uvloop==0.23.0
cat >"$work/look.py" <<'PY'
import asyncio
import socket
import time

import uvloop


def received(sock):
    try:
        return repr(sock.recv(100))
    except OSError as error:
        return type(error).__name__


async def main(name):
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        client = socket.create_connection(listening.getsockname())
        sock, _ = listening.accept()
    sock.setblocking(False)
    sock.send(b"hello")  # the client leaves it unread, so that its end is a reset
    told = []

    def read():
        told.append(received(sock))
        if told[-1] in {"b''", "ConnectionResetError"}:
            loop.remove_reader(sock)

    loop.add_reader(sock, read)
    await asyncio.sleep(0.1)
    client.sendall(b"abc")
    client.close()
    time.sleep(0.1)  # both are there when the loop looks next
    await asyncio.sleep(1)
    print(f"{name}: {', '.join(told)}")
    if told[-1] != "ConnectionResetError":
        print(f"what {name} did not tell: {received(sock)}")
    loop.remove_reader(sock)
    sock.close()


asyncio.run(main("asyncio"))
uvloop.run(main("uvloop"))
PY
found=$("$work/venv/bin/python" "$work/look.py")
printf '%s\n' "$found"
[ "$found" = "asyncio: b'abc', ConnectionResetError
uvloop: b'abc'
what uvloop did not tell: ConnectionResetError" ]
