"""Sinks that hand records to a broker of messages."""
