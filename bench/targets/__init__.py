"""Each sink that speaks to a server, beside its client library alone: one module a sink, `bench/targets/NAME.py`."""
