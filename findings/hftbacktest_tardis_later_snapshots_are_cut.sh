#!/usr/bin/env bash
# hftbacktest 2.4.4: `hftbacktest.data.utils.tardis.convert` reads a file of tardis.dev (`incremental_book_L2`) that has
# several whole books, as every file has where a connection was lost. Each book after the first keeps only as many levels
# a side as the shortest one before it: the function narrows its buffer to the levels of a book, and never widens it
# again. A book with which the file ends is left out altogether. Nothing is said in either case.
#
# Seen on Python 3.11.7 with numpy 2.2.6 and polars 2.1.0: three levels a side, alone; after a book of one level a side;
# and at the end of a file.
#   alone: clear 98, snapshot 100, snapshot 99, snapshot 98, clear 103, snapshot 101, snapshot 102, snapshot 103, depth 90
#   after a short one: clear 100, snapshot 100, clear 101, snapshot 101, depth 90, clear 100, snapshot 100, clear 101, snapshot 101, depth 90
#   at the end: depth 90
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check hftbacktest==2.4.4 numpy==2.2.6 polars==2.1.0
cat >"$work/look.py" <<'PY'
import contextlib
import io
import sys
from pathlib import Path

from hftbacktest.data.utils.tardis import convert

HEAD = "exchange,symbol,timestamp,local_timestamp,is_snapshot,side,price,amount\n"
KINDS = {1: "depth", 3: "clear", 4: "snapshot"}


def book(time, is_snapshot, levels):
    return "".join(f"x,BTC,{time},{time + 1},{is_snapshot},{side},{price},1\n" for side, price in levels)


def look(name, rows):
    path = Path(sys.argv[1]) / "incremental_book_L2.csv"
    path.write_text(HEAD + rows)
    with contextlib.redirect_stdout(io.StringIO()):
        events = convert([str(path)], buffer_size=100, ss_buffer_size=100)
    told = [f"{KINDS[int(event['ev']) & 0xFF]} {event['px']:g}" for event in events]
    print(f"{name}: {', '.join(told)}")


SHORT = [("bid", 100), ("ask", 101)]
LONG = [("bid", 100), ("bid", 99), ("bid", 98), ("ask", 101), ("ask", 102), ("ask", 103)]
CHANGE = [("bid", 90)]
look("alone", book(1, "true", LONG) + book(2, "false", CHANGE))
both = book(1, "true", SHORT) + book(2, "false", CHANGE) + book(3, "true", LONG) + book(4, "false", CHANGE)
look("after a short one", both)
look("at the end", book(1, "false", CHANGE) + book(2, "true", LONG))
PY
"$work/venv/bin/python" "$work/look.py" "$work" | tee "$work/seen"
diff "$work/seen" - <<'SEEN'
alone: clear 98, snapshot 100, snapshot 99, snapshot 98, clear 103, snapshot 101, snapshot 102, snapshot 103, depth 90
after a short one: clear 100, snapshot 100, clear 101, snapshot 101, depth 90, clear 100, snapshot 100, clear 101, snapshot 101, depth 90
at the end: depth 90
SEEN
