"""The process: everything started together, watched, and stopped in order."""
