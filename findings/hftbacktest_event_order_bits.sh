#!/usr/bin/env bash
# hftbacktest 2.4.4: `correct_event_order` takes events that carry no EXCH_EVENT or LOCAL_EVENT bit yet. It adds these
# bits to its rows, and where the two orders differ it makes two rows of one event; it never clears a bit. Events that
# carry both bits already come out as rows that all claim both orders, and `validate_event_order` of the same release
# refuses the result. Events without the bits come out right.
#
# Also of this release: `from hftbacktest import *` fails, as `__all__` names a class that the wheel does not have.
#
# Seen on Python 3.11.7 with numpy 2.2.6:
#   star import: module 'hftbacktest' has no attribute 'HashMapMarketDepthLiveBot'
#   no bits: 0xa0000001 0xe0000001 0x60000001 0xe0000001, valid
#   both bits: 0xe0000001 0xe0000001 0xe0000001 0xe0000001, exchange events are out of order.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check hftbacktest==2.4.4 numpy==2.2.6
cat >"$work/look.py" <<'PY'
import numpy as np
from hftbacktest.data.validation import correct_event_order, validate_event_order
from hftbacktest.types import BUY_EVENT, DEPTH_EVENT, EXCH_EVENT, LOCAL_EVENT, event_dtype

try:
    exec("from hftbacktest import *")
    print("star import: works")
except AttributeError as error:
    print(f"star import: {error}")

for name, bits in (("no bits", 0), ("both bits", EXCH_EVENT | LOCAL_EVENT)):
    events = np.zeros(3, event_dtype)
    # When it happened at the exchange, and when it was heard: the second one was heard before the first.
    for row, (exchange, local) in zip(events, [(200, 250), (100, 300), (400, 500)], strict=True):
        row["ev"], row["exch_ts"], row["local_ts"] = DEPTH_EVENT | BUY_EVENT | bits, exchange, local
        row["px"], row["qty"] = 100.0, 1.0
    orders = (np.argsort(events[time], kind="mergesort") for time in ("exch_ts", "local_ts"))
    corrected = correct_event_order(events, *orders)
    try:
        validate_event_order(corrected)
        said = "valid"
    except ValueError as error:
        said = str(error)
    print(f"{name}: {' '.join(hex(int(ev)) for ev in corrected['ev'])}, {said}")
PY
"$work/venv/bin/python" "$work/look.py" | tee "$work/seen"
diff "$work/seen" - <<'SEEN'
star import: module 'hftbacktest' has no attribute 'HashMapMarketDepthLiveBot'
no bits: 0xa0000001 0xe0000001 0x60000001 0xe0000001, valid
both bits: 0xe0000001 0xe0000001 0xe0000001 0xe0000001, exchange events are out of order.
SEEN
