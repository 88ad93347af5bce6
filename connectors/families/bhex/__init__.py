"""The BHEX protocol (Bluehelix): `topic`, `event` and `data` on one socket for pairs and contracts, without answers.

https://hashkeyglobal-apidoc.readme.io/reference/websocket-v1
"""
