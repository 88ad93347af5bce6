#!/usr/bin/env bash
# picows 2.3.1: `ws_connect` returns as if all were well when the server closes the connection before it has answered the
# handshake. No exception is raised; the transport that it gives is of a closed connection, the listener that it gives is
# None, and neither `on_ws_connected` nor `on_ws_disconnected` is ever called on the listener that was made. So who relies
# on exceptions and callbacks has a connection of which nothing ever comes. websockets 17.4 raises for the same server.
#
# Seen on Python 3.11.7:
#   picows: no exception, transport WSTransport, listener NoneType, connected False, disconnected False
#   websockets: InvalidMessage
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check picows==2.3.1 websockets==17.4
cat >"$work/look.py" <<'PY'
import asyncio

import picows
import websockets


class Listener(picows.WSListener):
    connected = disconnected = False

    def on_ws_connected(self, transport):
        self.connected = True

    def on_ws_disconnected(self, transport):
        self.disconnected = True


async def main():
    async def close_at_once(reader, writer):
        await reader.read(65536)
        writer.close()

    server = await asyncio.start_server(close_at_once, "127.0.0.1", 0)
    address = "ws://127.0.0.1:%d/" % server.sockets[0].getsockname()[1]
    made = Listener()
    try:
        transport, listener = await picows.ws_connect(lambda: made, address)
    except Exception as error:
        print(f"picows: {type(error).__name__}")
    else:
        await asyncio.sleep(0.5)
        called = f"connected {made.connected}, disconnected {made.disconnected}"
        print(f"picows: no exception, transport {type(transport).__name__}, listener {type(listener).__name__}, {called}")
    try:
        await websockets.connect(address)
    except Exception as error:
        print(f"websockets: {type(error).__name__}")
    else:
        print("websockets: no exception")


asyncio.run(main())
PY
found=$("$work/venv/bin/python" "$work/look.py")
printf '%s\n' "$found"
[ "$found" = "picows: no exception, transport WSTransport, listener NoneType, connected False, disconnected False
websockets: InvalidMessage" ]
