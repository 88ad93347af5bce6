"""Gate EU: spot alone, in euros and USDC.

https://www.gate.com/docs/developers/apiv4/ws/en/
Of the two addresses in ccxt the one of spot is used, which is like Gate's own. Whole books by REST are empty there
above 100 levels a side; the stream brings its own.
"""

from connectors.families import gate

EXCHANGE = gate.exchange(
    "gateeu",
    api="https://api.gateeu.com/api/v4",
    ws={"spot": "wss://api.gateeu.com/ws/v4/"},
    checked="2026-11, its documentation and ccxt 4.5.90: no message was seen",
    notes=(
        "A book is of 400 levels a side.",
        "A book of a market that is not there is accepted, and stays silent.",
    ),
)
