"""How much room answers take, and how much is too much."""

from msgspec import Struct

LARGEST_BODY_BYTES = 64 * 2**20
LARGEST_DECODED_BYTES = 128 * 2**20  # an answer and what is made of it
ELEMENT_BYTES = 64  # an element of a list that is kept as text takes so many


class Weight(Struct):
    """The room that answers take: their bytes, and something for each element of their lists.

    Many small elements take up to thirty times their bytes. In JSON they are as many as commas and lists and objects
    together, without the fields of objects; an escape counts as one, for it is looked at by itself.
    """

    size: int = 0
    elements: int = 0

    def add(self, part: bytes) -> None:
        """Count what has come."""
        self.size += len(part)
        self.elements += part.count(b",") + part.count(b"[") + part.count(b"{") + part.count(b"\\")
        self.elements -= part.count(b'":')

    @property
    def excess(self) -> str | None:
        """Say in which way it is more than we take; None while it is not."""
        if self.size > LARGEST_BODY_BYTES:
            return f"larger than {LARGEST_BODY_BYTES} bytes"
        if self.size + self.elements * ELEMENT_BYTES > LARGEST_DECODED_BYTES:
            return f"of too many small rows: {self.elements} elements"
        return None
