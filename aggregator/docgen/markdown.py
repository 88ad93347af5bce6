"""Markdown as the generated pages write it."""

from collections.abc import Iterable, Sequence


def notice(source: str) -> str:
    """The first line of a page: that it is made, and from what."""
    return f"<!-- Made by `aggregator docs` from {source}: change that, and run it again. -->\n"


def cell(text: str) -> str:
    """A text as it may stand in a table: on one line, without a bar or a tag."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; every cell is Markdown already but for what `cell` takes care of."""
    lines = [columns, ["---"] * len(columns), *([cell(text) for text in row] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def link(text: str, address: str) -> str:
    """A link; an address that would end it early is written so that it does not."""
    return f"[{text}]({address.replace('(', '%28').replace(')', '%29').replace(' ', '%20')})"


def code(text: str) -> str:
    """A name as it is typed."""
    return f"`{text}`"
