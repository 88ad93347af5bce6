"""The live feed: subscribers on a unix socket, each with its own topics and its own patience (docs/feed.md)."""
