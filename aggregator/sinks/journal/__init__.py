"""The stream on disk: written by one thread for all, read from any place in it, bounded by size and age."""
