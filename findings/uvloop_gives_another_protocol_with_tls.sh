#!/usr/bin/env bash
# uvloop 0.23.0: `loop.connect_accepted_socket(factory, sock, ssl=context)` gives as its second value not the protocol that
# the factory made, but an internal one, `uvloop.loop.SSLProtocol`, once TLS is spoken; the documentation of asyncio says
# "(transport, protocol)" with the factory's, and asyncio's own loop and uvloop without TLS give that. So who keeps what
# is returned keeps an object without the attributes of its own class. `transport.get_protocol()` is the factory's on both.
#
# Seen on Python 3.11.7:
#   asyncio: plain Ours True, tls Ours True
#   uvloop: plain Ours True, tls SSLProtocol True
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check uvloop==0.23.0
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -keyout "$work/key.pem" -out "$work/cert.pem" 2>/dev/null
cat >"$work/look.py" <<'PY'
import asyncio
import socket
import ssl
import sys

import uvloop

folder = sys.argv[1]


class Ours(asyncio.Protocol):
    pass


async def accepted(speaks_tls):
    loop = asyncio.get_running_loop()
    context = trusting = None
    if speaks_tls:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(f"{folder}/cert.pem", f"{folder}/key.pem")
        trusting = ssl.create_default_context(cafile=f"{folder}/cert.pem")
    name = "localhost" if speaks_tls else None
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        taking = loop.sock_accept(listening)
        here = listening.getsockname()[1]
        asking = asyncio.ensure_future(
            loop.create_connection(asyncio.Protocol, "127.0.0.1", here, ssl=trusting, server_hostname=name)
        )
        sock, _ = await taking
        transport, protocol = await loop.connect_accepted_socket(Ours, sock, ssl=context)
        other, _ = await asking
        found = f"{type(protocol).__name__} {isinstance(transport.get_protocol(), Ours)}"
        other.close()
        transport.close()
        return found


async def main():
    return f"plain {await accepted(False)}, tls {await accepted(True)}"


print("asyncio:", asyncio.run(main()))
print("uvloop:", uvloop.run(main()))
PY
found=$("$work/venv/bin/python" "$work/look.py" "$work")
printf '%s\n' "$found"
[ "$found" = "asyncio: plain Ours True, tls Ours True
uvloop: plain Ours True, tls SSLProtocol True" ]
