"""Records as tables: the columns of each type, once for every sink, reader and tool; and how tables are written."""
