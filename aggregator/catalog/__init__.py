"""Which exchanges there are, what became of them, and how a connector is found by its id."""
