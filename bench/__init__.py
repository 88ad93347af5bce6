"""Measurements: programs that print figures, never tests."""
