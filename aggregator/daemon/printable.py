"""Text of others, made fit to be shown: it can steer no terminal, forge no line, and turn no words around."""


def printable(text: str) -> str:
    """A text on one line; characters that are not printable are written as Python's literals write them."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
