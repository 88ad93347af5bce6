"""Bitfinex's WebSocket protocol, version 2.

https://docs.bitfinex.com/docs/ws-general
"""
