"""Where each key of a TOML text stands: the one thing that tomllib does not tell."""

import re
import tomllib
from bisect import bisect_right

KeyPath = tuple[str | int, ...]

BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
KEY = re.compile(r"""[A-Za-z0-9_-]+|"(?:\\.|[^"\\])*"|'[^']*'""")
STRING = re.compile(
    r'"""(?:\\.|[^\\])*?"""(?:"{0,2})'
    r"|'''.*?'''(?:'{0,2})"
    r'|"(?:\\.|[^"\\])*"'
    r"|'[^']*'",
    re.DOTALL,
)
BARE = re.compile(r"[^,\]}#\n]*")


def key_lines(text: str) -> dict[KeyPath, int]:
    """The line (1-based) of every table, key and array element of a text that tomllib has accepted."""
    return _Scan(text).run()


def line_of(lines: dict[KeyPath, int], path: KeyPath) -> int:
    """The line of a path, or of the nearest that is there and would hold it; 1 where none is."""
    while path not in lines and path:
        path = path[:-1]
    return lines.get(path, 1)


class _Scan:
    """One pass over a text, trusting that it is TOML."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.starts = [match.end() for match in re.finditer("\n", text)]
        self.lines: dict[KeyPath, int] = {}
        self.lengths: dict[KeyPath, int] = {}  # how long each array of tables is

    def run(self) -> dict[KeyPath, int]:
        table: KeyPath = ()
        while self._next():
            if self.text[self.at] == "[":
                table = self._header()
            else:
                self._pair(table)
        return self.lines

    def _header(self) -> KeyPath:
        is_array = self.text.startswith("[[", self.at)
        self.at += 2 if is_array else 1
        table: KeyPath = ()
        *outer, name = self._key()
        for key in outer:
            table = self._newest((*table, key))
            self._mark(table)
        table = (*table, name)
        self._mark(table)
        if is_array:
            self.lengths[table] = self.lengths.get(table, 0) + 1
            table = self._newest(table)
            self._mark(table)
        self.at += 2 if is_array else 1
        return table

    def _newest(self, path: KeyPath) -> KeyPath:
        return (*path, self.lengths[path] - 1) if path in self.lengths else path

    def _pair(self, table: KeyPath) -> None:
        path = table
        for key in self._key():
            path = (*path, key)
            self._mark(path)
        self.at += 1  # the equals sign
        self._next()
        self._value(path)

    def _key(self) -> list[str]:
        """The parts of a dotted key; leaves off at what follows it."""
        parts: list[str] = []
        while not parts or self.text[self.at] == ".":
            self.at += bool(parts)
            self._next()
            match = KEY.match(self.text, self.at)
            if match is None:
                raise ValueError(f"not TOML at line {self._line()}")
            parts.append(_unquoted(match.group()))
            self.at = match.end()
            self._next()
        return parts

    def _value(self, path: KeyPath) -> None:
        match self.text[self.at]:
            case "[":
                self._array(path)
            case "{":
                self._inline_table(path)
            case _:
                match = STRING.match(self.text, self.at) or BARE.match(self.text, self.at)
                self.at = match.end() if match else len(self.text)

    def _array(self, path: KeyPath) -> None:
        self.at += 1
        index = 0
        while self._next() and self.text[self.at] != "]":
            self._mark((*path, index))
            self._value((*path, index))
            self._comma()
            index += 1
        self.at += 1

    def _inline_table(self, path: KeyPath) -> None:
        self.at += 1
        while self._next() and self.text[self.at] != "}":
            self._pair(path)
            self._comma()
        self.at += 1

    def _comma(self) -> None:
        if self._next() and self.text[self.at] == ",":
            self.at += 1

    def _next(self) -> bool:
        """Go to the next character that says something; False at the end."""
        if match := BLANK.match(self.text, self.at):
            self.at = match.end()
        return self.at < len(self.text)

    def _mark(self, path: KeyPath) -> None:
        self.lines.setdefault(path, self._line())

    def _line(self) -> int:
        return bisect_right(self.starts, self.at) + 1


def _unquoted(key: str) -> str:
    return str(tomllib.loads(f"key = {key}")["key"]) if key[0] in "\"'" else key
