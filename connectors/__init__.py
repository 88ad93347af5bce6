"""The exchanges, one module or package each: how it is asked and how its answers are read. Data and pure functions."""
