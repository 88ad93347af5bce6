"""Several hosts, NATS between them, and whatever may go wrong."""
