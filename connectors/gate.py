"""Gate.

https://www.gate.com/docs/developers/apiv4/ws/en/
"""

from connectors.families import gate
from connectors.families.gate.legacy import ARCHIVE

WS = "wss://fx-ws.gateio.ws/v4/ws"
NOTES = (
    "A book is of 400 levels a side; dated futures have 100, options 50.",
    "A book of a market that is not there is accepted, and stays silent.",
    "Funding is told as current alone: what the exchange calls indicative, and has deprecated, is the same rate.",
    "Trades outside of the book, by which the insurance fund takes over a position, are of kind `liquidation`.",
    "Candles of options have no volume: what the exchange sends counts contracts.",
)
CONTRACTS = {"usdt": f"{WS}/usdt", "btc": f"{WS}/btc", "usd1": f"{WS}/usd1", "delivery": f"{WS}/delivery/usdt"}
EXCHANGE = gate.exchange(
    "gate",
    api="https://api.gateio.ws/api/v4",
    ws={"spot": "wss://api.gateio.ws/ws/v4/", **CONTRACTS, "options": "wss://op-ws.gateio.live/v4/ws"},
    checked="2026-09, live probes by others",
    notes=NOTES,
    archives=(ARCHIVE,),
)
