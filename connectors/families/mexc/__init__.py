"""MEXC's two protocols: protobuf for spot, JSON for contracts."""
