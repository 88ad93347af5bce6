#!/usr/bin/env bash
# picows 2.3.1: a task that awaits `ws_connect` and is cancelled while the handshake is on the way leaves the connection.
# The server's answer is still taken, `on_ws_connected` is called on a listener that the caller has given up, and with
# `enable_auto_ping` the connection is kept alive for as long as the server likes; the caller has no transport to end it
# with. The same holds of a timeout around `ws_connect` that is shorter than picows' own. With websockets 17.4 the server
# sees the connection end at once.
#
# Seen on Python 3.11.7:
#   picows: cancelled; a second after the server's answer it is open, connected True
#   websockets: cancelled; a second after the server's answer it is closed
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check picows==2.3.1 websockets==17.4
cat >"$work/look.py" <<'PY'
import asyncio
import base64
import hashlib
import re

import picows
import websockets

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Listener(picows.WSListener):
    connected = False

    def on_ws_connected(self, transport):
        self.connected = True


async def seen_of(dial):
    """How the server sees a connection whose dialling is cancelled before the answer: open or closed."""
    asked, found = asyncio.Event(), asyncio.get_running_loop().create_future()

    async def answer_late(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        asked.set()
        await asyncio.sleep(0.5)
        key = re.search(rb"(?i)sec-websocket-key: (\S+)", head)[1]
        accept = base64.b64encode(hashlib.sha1(key + GUID).digest())
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                     b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n")
        try:
            async with asyncio.timeout(1):
                await reader.read()
            found.set_result("closed")
        except TimeoutError:
            found.set_result("open")
        except OSError:
            found.set_result("closed")
        writer.close()

    server = await asyncio.start_server(answer_late, "127.0.0.1", 0)
    task = asyncio.ensure_future(dial("ws://127.0.0.1:%d/" % server.sockets[0].getsockname()[1]))
    await asyncio.wait_for(asked.wait(), 20)
    task.cancel()
    await asyncio.wait([task])
    said = "cancelled" if task.cancelled() else "not cancelled"
    return f"{said}; a second after the server's answer it is {await asyncio.wait_for(found, 20)}"


async def main():
    listener = Listener()

    async def dial(address):
        await picows.ws_connect(lambda: listener, address, enable_auto_ping=True)

    print(f"picows: {await seen_of(dial)}, connected {listener.connected}")

    async def dial_other(address):
        await websockets.connect(address)

    print(f"websockets: {await seen_of(dial_other)}")


asyncio.run(main())
PY
found=$("$work/venv/bin/python" "$work/look.py")
printf '%s\n' "$found"
[ "$found" = "picows: cancelled; a second after the server's answer it is open, connected True
websockets: cancelled; a second after the server's answer it is closed" ]
