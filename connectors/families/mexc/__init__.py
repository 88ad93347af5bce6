"""The protocol of MEXC's contracts, in JSON, and its lists of instruments: BYDFi speaks it since September 2026.

https://www.mexc.com/api-docs/futures/websocket-api
"""
