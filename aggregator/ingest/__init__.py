"""The gathering: the network, REST, connections kept alive, polls, and the listing of instruments."""
