"""BloFin's protocol: its frames."""
