"""Where records become one stream: each gets its offset, and every sink every batch."""
