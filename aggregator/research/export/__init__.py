"""Recordings as other programs read them: each target is one file, and all are made of the steps of a market."""
