"""Sinks that put records into the tables of a database."""
