#!/usr/bin/env bash
# nautilus_trader 1.231.0: its catalogue writes the data of an instrument whose id has a `+` or a `~`, and cannot read it
# again: the id becomes part of a table's name in SQL, which is not quoted. An exchange's own names have a `+` here and
# there. Other signs, `-`, `:`, `@`, `/`, are read well.
#
# Seen on Python 3.13.0 (the library needs 3.12 or later):
#   BTC-USDT.X: written, 1 read
#   XAUT+USD.X: written, not read: RuntimeError: SQL error: ParserError("Expected: end of statement, found: +
#   BTC~USDT.X: written, not read: RuntimeError: SQL error: ParserError("Expected: end of statement, found: ~
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for python in python3 python3.13 python3.12 "$HOME"/.pyenv/versions/3.1[23]*/bin/python; do
    if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 12))' 2>/dev/null; then break; fi
done
"$python" -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check nautilus_trader==1.231.0
cat >"$work/look.py" <<'PY'
import sys
from pathlib import Path

from nautilus_trader.model.data import TradeTick
from nautilus_trader.model.enums import AggressorSide
from nautilus_trader.model.identifiers import InstrumentId, TradeId
from nautilus_trader.model.objects import Price, Quantity
from nautilus_trader.persistence.catalog import ParquetDataCatalog

for number, name in enumerate(["BTC-USDT.X", "XAUT+USD.X", "BTC~USDT.X"]):
    folder = Path(sys.argv[1]) / str(number)
    folder.mkdir()
    catalogue = ParquetDataCatalog(str(folder))
    price, size = Price.from_str("1"), Quantity.from_str("1")
    trade = TradeTick(InstrumentId.from_str(name), price, size, AggressorSide.BUYER, TradeId("1"), 1, 1)
    catalogue.write_data([trade])
    try:
        print(f"{name}: written, {len(catalogue.trade_ticks())} read")
    except RuntimeError as error:
        print(f"{name}: written, not read: RuntimeError: {str(error).partition(' at Line')[0]}")
PY
"$work/venv/bin/python" "$work/look.py" "$work" | tee "$work/seen"
diff "$work/seen" - <<'SEEN'
BTC-USDT.X: written, 1 read
XAUT+USD.X: written, not read: RuntimeError: SQL error: ParserError("Expected: end of statement, found: +
BTC~USDT.X: written, not read: RuntimeError: SQL error: ParserError("Expected: end of statement, found: ~
SEEN
