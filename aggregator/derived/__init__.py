"""Derived channels: what is computed of other topics, once for all who ask."""
