"""Lets this tree's bench run an older commit: modules that have moved since, names and keys that have changed."""

import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

WAS = {  # a module of today, and the names of those that have held its contents before, the latest first
    "aggregator.bus.bus": ("bus",),
    "aggregator.daemon.daemon": ("daemon",),
    "aggregator.ingest.lines": ("network",),
    "aggregator.session.moment": ("moment", "topics"),
    "aggregator.catalog.registry": ("registry",),
    "aggregator.capture.replay": ("replay",),
    "aggregator.capture.line": ("capture.replay", "replay"),
    "aggregator.session.session": ("session",),
    "aggregator.session.topics": ("topics",),
}
NAMED = {"aggregator.ingest.lines": {"PIECE_BYTES": "PIECE"}}  # names of today in such a module -> as they were before


def find() -> None:
    """Let the modules of today be found in a commit that has them elsewhere. Raises ImportError where it has none."""
    for today, before in WAS.items():
        try:
            import_module(today)
        except ModuleNotFoundError:
            there = next(filter(_is_there, before), before[-1])
            sys.modules[today] = import_module(f"aggregator.{there}")
    for module, names in NAMED.items():
        for name, before_it in names.items():
            if not hasattr(sys.modules[module], name):
                setattr(sys.modules[module], name, getattr(sys.modules[module], before_it))


def feed_table(path: Path, **keys: int) -> str:
    """The feed at a unix socket, for a configuration: a table of its own, or in a commit of before that a sink."""
    others = "".join(f"{key} = {value}\n" for key, value in keys.items())
    if _is_there("feed.address"):
        return f'[feed]\nlisten = ["unix:{path}"]\n{others}'
    return f'[[sinks]]\ntype = "feed"\npath = "{path}"\n{others}'


def _is_there(name: str) -> bool:
    try:
        return find_spec(f"aggregator.{name}") is not None
    except ModuleNotFoundError:  # what is a package today was a module
        return False
