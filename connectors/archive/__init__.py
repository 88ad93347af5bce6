"""Exchanges that are over: their captures can be read, and nobody is asked for anything."""
