"""How much of one exchange is taken in, unless the configuration says otherwise."""

MOST_INSTRUMENTS = 50_000  # a listing may have so many, and others are left out
MOST_TOPICS = 30_000  # so many are followed
