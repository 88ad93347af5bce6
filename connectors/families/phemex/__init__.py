"""The protocol of Phemex: scaled integers for spot and the older contracts, decimal text for the newer ones.

https://phemex-docs.github.io/#contract-websocket-api
"""
