"""The words of a few protocols, spoken from the exchange's side: for the sandbox's simulated markets."""
