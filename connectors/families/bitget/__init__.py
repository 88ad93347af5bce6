"""Bitget's protocol: its frames and its lists."""
