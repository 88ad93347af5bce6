"""What each exchange says and how to ask it: one module an exchange, data and pure functions."""
