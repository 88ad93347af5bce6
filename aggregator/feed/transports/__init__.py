"""How bytes come to a subscriber and from it: one file for each kind of connection."""
