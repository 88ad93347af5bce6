"""A configuration of several files: those of `conf.d` beside it are read as if they stood at its end."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from msgspec import Struct

from aggregator.config.toml_lines import KeyPath

DIRECTORY = "conf.d"
MOST_FILES = 100  # there
LISTS = ("exchanges", "sources", "sinks")  # tables that each file may add to
PLACE = re.compile(rf"\b({'|'.join(LISTS)})\[([0-9]{{1,9}})\]")


class ConfigFile(Struct, frozen=True):
    """One file: its tables and keys, and the line of each."""

    path: Path
    values: dict[str, Any]
    lines: dict[KeyPath, int]


class Whole(Struct, frozen=True):
    """All files as one document.

    values: the document
    parts: the files, in the order in which they are read
    owners: the file of each key at the top
    starts: of each list the files that add to it, each with the place of its first table
    twice: keys that a second file has, the file, and a word about that
    """

    values: dict[str, Any]
    parts: list[ConfigFile]
    owners: dict[str, ConfigFile]
    starts: dict[str, list[tuple[int, ConfigFile]]]
    twice: list[tuple[ConfigFile, KeyPath, str]]

    def origin(self, key: KeyPath) -> tuple[ConfigFile, KeyPath]:
        """The file that holds a key, and the key there."""
        match key:
            case (str(name), int(index), *rest) if name in self.starts:
                start, part = next((s, p) for s, p in reversed(self.starts[name]) if s <= index)
                return part, (name, index - start, *rest)
            case (str(name), *_):
                return self.owners.get(name, self.parts[0]), key
        return self.parts[0], key

    def placed(self, text: str) -> str:
        """A message whose tables are named by their place in their own file."""
        if len(self.parts) == 1:
            return text

        def place(match: re.Match[str]) -> str:
            if match[1] not in self.starts:
                return match[0]
            part, key = self.origin((match[1], int(match[2])))
            return f"{match[1]}[{key[1]}] of {part.path}"

        return PLACE.sub(place, text)


def files_beside(path: Path) -> list[Path]:
    """The files that belong to a configuration, by name. Raises OSError where that cannot be told."""
    directory = path.parent / DIRECTORY
    if not directory.is_dir():
        return []
    found = [each for each in directory.iterdir() if each.suffix == ".toml" and not each.name.startswith(".")]
    return sorted(found, key=lambda each: each.name)


def joined(parts: Iterable[ConfigFile]) -> Whole:
    """The files as one document, in which each key has the place that it had in its file."""
    parts = list(parts)
    whole = Whole({}, parts, {}, {}, [])
    for part in parts:
        for name, value in part.values.items():
            if name in LISTS and isinstance(value, list) and isinstance(whole.values.get(name, []), list):
                tables = whole.values.setdefault(name, [])
                whole.starts.setdefault(name, []).append((len(tables), part))
                tables += value
            elif name in whole.values and (name != "version" or whole.values[name] != value):
                other = whole.owners[name] if name in whole.owners else whole.starts[name][0][1]
                whole.twice.append((part, (name,), f"stands in {other.path} too: only one file may say it"))
                continue
            else:
                whole.values.setdefault(name, value)
            whole.owners.setdefault(name, part)
    return whole
