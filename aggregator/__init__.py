"""Public market data of every exchange, as one stream that can be trusted."""

__version__ = "0.1.0"
SERVICES = {"run", "capture"}  # commands that run until they are stopped
