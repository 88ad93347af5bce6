"""Raw frames on disk: written while they come, read line by line, and replayed through the live code."""
