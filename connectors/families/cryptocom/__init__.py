"""Crypto.com's Exchange API, version 1.

https://exchange-docs.crypto.com/exchange/v1/rest-ws/index.html
"""
