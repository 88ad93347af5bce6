"""The configuration that the members of a cluster share: revisions in a bucket, of which the newest is in force."""

import json
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct, structs

from aggregator.errors import UNREADABLE

MOST_BYTES = 900_000  # a server takes messages of 1 MiB unless it is told otherwise
KEPT = 64  # revisions: a bucket keeps no more
LATEST = 1 << 63  # ns
DEL = "\x7f"


class SharedConfig(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One revision of it.

    revision: its number, given by the server; 0: there has never been one
    text: in TOML, without comments, which may hold what is not for others; empty: members go by their own files
    ts: when it was put, ns
    by: whoever did so, as USER@HOST
    origin: the older revision that it repeats; 0: it was read from a file
    """

    revision: int = 0
    text: str = ""
    ts: int = 0
    by: str = ""
    origin: int = 0


def read_shared(value: bytes | None, revision: int) -> SharedConfig:
    """Read a revision as the bucket holds it. Raises ValueError where it is none."""
    if value is None:
        return SharedConfig(revision=revision)
    try:
        found = structs.replace(msgspec.json.decode(value, type=SharedConfig), revision=revision)
    except UNREADABLE as error:
        raise ValueError(f"revision {revision} of the shared configuration cannot be read: {error}") from None
    if not 0 <= found.ts < LATEST or not (found.text or (found.ts and found.by)):
        raise ValueError(f"revision {revision} of the shared configuration was put by no `aggregator cluster apply`")
    return found


def written(values: Mapping[str, Any]) -> str:
    """The tables and keys of a shared configuration as TOML."""
    parts = [_keys({name: value for name, value in values.items() if name not in {"exchanges", "cluster"}})]
    if values.get("cluster"):
        parts.append(f"\n[cluster]\n{_keys(values['cluster'])}")
    parts += [f"\n[[exchanges]]\n{_keys(table)}" for table in values.get("exchanges", [])]
    return "".join(parts).lstrip()


def _keys(table: Mapping[str, Any]) -> str:
    return "".join(f"{_key(name)} = {_value(value)}\n" for name, value in table.items())


def _key(name: str) -> str:
    return name if name.replace("-", "_").isascii() and name.replace("-", "_").isidentifier() else _text(name)


def _value(value: Any) -> str:
    """A value; JSON writes numbers, texts and lists as TOML does."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_key(name)} = {_value(each)}" for name, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    return _text(value)


def _text(value: object) -> str:
    return json.dumps(value, ensure_ascii=False).replace(DEL, "\\u007f")
