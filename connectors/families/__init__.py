"""Protocols that several exchanges speak."""
