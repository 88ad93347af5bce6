"""The abilities of standard output: read by a person or a program, in colours or not, drawn over or not."""

import os
import sys
from functools import cache

import click
from msgspec import Struct


class Screen(Struct, frozen=True):
    """The kind of standard output, and its abilities.

    is_person: it is a terminal, so lines are for reading
    has_colour: it takes colours, and nobody asked for none (NO_COLOR, see no-color.org)
    can_redraw: what stands there can be written over
    """

    is_person: bool
    has_colour: bool
    can_redraw: bool


@cache
def screen() -> Screen:
    """Standard output as it is now."""
    is_person = sys.stdout.isatty()
    is_dumb = os.environ.get("TERM", "dumb") in {"", "dumb", "unknown"}
    return Screen(
        is_person=is_person,
        has_colour=is_person and not is_dumb and not os.environ.get("NO_COLOR"),
        can_redraw=is_person and not is_dumb,
    )


def say(line: str) -> None:
    """Print a line to standard output, without its colours where they are not wanted."""
    click.echo(line, color=screen().has_colour)
