"""Several hosts that gather for each other: who owns which exchange, and one stream of it whoever is killed."""
