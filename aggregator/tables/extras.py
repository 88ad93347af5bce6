"""Packages that only some commands need, and the words for one that is missing."""

from functools import cache
from importlib import import_module
from typing import Any

from aggregator.errors import AggregatorError

EXTRA = "market-aggregator[research]"


class MissingPackage(AggregatorError):
    """A package is not installed; the words name it, and the command that installs it."""


@cache
def needed(name: str, purpose: str = "this") -> Any:
    """A module of an extra, imported now. Raises MissingPackage."""
    try:
        return import_module(name)
    except ImportError as error:
        package = name.partition(".")[0]
        raise MissingPackage(f"{purpose} needs {package}: pip install {package}, or '{EXTRA}' ({error})") from None
