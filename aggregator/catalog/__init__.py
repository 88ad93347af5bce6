"""The catalogue: all exchanges, their fates, and how a connector is found by its id."""
