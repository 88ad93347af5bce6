"""A receiver of QuestDB's line protocol over HTTP: `python tests/support/questdb.py FOLDER PORT VERSIONS HOW`.

No server of QuestDB can be had as a package, so this one knows as much as the tests look at: it says which versions of
the protocol it takes, remembers which tables were made, and refuses a request that it cannot read or whose table it
does not know. What it took is in FOLDER, however it ends. Where HOW is `forgets` it looks at nothing and keeps nothing.
"""

import base64
import json
import re
import struct
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

from aiohttp import web

TABLE = re.compile(r'CREATE TABLE IF NOT EXISTS "([^"]+)"')
NAME = re.compile(rb"((?:\\.|[^\\ ,=\n])+)", re.DOTALL)
PLAIN = re.compile(rb"[^ ,\n]+")
TEXT = re.compile(rb'"((?:\\.|[^\\"])*)"', re.DOTALL)
DOUBLE, DECIMAL = 0x10, 0x17  # types of binary values
LARGEST_BYTES = 1 << 28


class Unreadable(Exception):
    """It is none of the protocol."""


def rows(body: bytes) -> Iterator[tuple[str, dict[str, Any], int]]:
    """The rows of a request: table, values and time. Raises Unreadable."""
    at = 0
    while at < len(body):
        table, at = _name(body, at)
        values: dict[str, Any] = {}
        while body[at : at + 1] == b",":
            name, at = _name(body, at + 1)
            values[name], at = _name(body, at + 1)
        if body[at : at + 1] != b" ":
            raise Unreadable(body[at : at + 20])
        separator = b","
        while separator == b",":
            name, at = _name(body, at + 1)
            values[name], at = _value(body, at + 1)
            separator = body[at : at + 1]
        time = re.compile(rb" (\d+)n\n").match(body, at)
        if time is None:
            raise Unreadable(body[at : at + 20])
        yield table, values, int(time[1])
        at = time.end()


def _name(body: bytes, at: int) -> tuple[str, int]:
    found = NAME.match(body, at)
    if found is None:
        raise Unreadable(body[at : at + 20])
    return re.sub(r"\\(.)", r"\1", found[1].decode(), flags=re.DOTALL), found.end()


def _value(body: bytes, at: int) -> tuple[Any, int]:
    if body[at : at + 1] == b"=":
        return _binary(body, at + 1)
    if found := TEXT.match(body, at):
        return re.sub(r"\\(.)", r"\1", found[1].decode(), flags=re.DOTALL), found.end()
    plain = PLAIN.match(body, at)
    if plain is None:
        raise Unreadable(body[at : at + 20])
    text = plain[0].decode()
    if text in {"t", "f"}:
        return text == "t", plain.end()
    if text[-1] not in "in":
        raise Unreadable(plain[0])
    return int(text[:-1]), plain.end()


def _binary(body: bytes, at: int) -> tuple[Any, int]:
    if body[at] == DOUBLE:
        return struct.unpack_from("<d", body, at + 1)[0], at + 9
    if body[at] != DECIMAL:
        raise Unreadable(body[at : at + 20])
    scale, length = body[at + 1], body[at + 2]
    unscaled = int.from_bytes(body[at + 3 : at + 3 + length], "big", signed=True)
    return Decimal(unscaled).scaleb(-scale), at + 3 + length


def application(folder: Path, versions: list[int], *, reads: bool) -> web.Application:
    """All that it answers."""
    tables, taken = folder / "tables", folder / "taken"

    async def settings(_: web.Request) -> web.Response:
        return web.json_response({"config": {"line.proto.support.versions": versions}})

    async def execute(request: web.Request) -> web.Response:
        with tables.open("a") as file:
            file.write(request.query["query"] + "\n")
        return web.json_response({"ddl": "OK"})

    async def write(request: web.Request) -> web.Response:
        body = await request.read()
        if not reads:
            return web.Response(status=204)
        known = set(TABLE.findall(tables.read_text())) if tables.exists() else set()
        try:
            read = list(rows(body))
            unknown = {table for table, *_ in read} - known
            bad = [values for _, values, _ in read if values.get("id") == "poison"]
        except Unreadable as error:
            unknown, bad = {repr(error)}, []
        if unknown or bad:
            said = {"code": "invalid", "message": f"failed to parse line protocol: {unknown or bad}", "line": 1}
            return web.Response(status=400, body=json.dumps(said).encode(), content_type="application/json")
        with taken.open("ab") as file:
            file.write(base64.b64encode(body) + b"\n")
        return web.Response(status=204)

    made = web.Application(client_max_size=LARGEST_BYTES)
    made.add_routes([web.get("/settings", settings), web.get("/exec", execute), web.post("/write", write)])
    return made


if __name__ == "__main__":
    place = Path(sys.argv[1])
    place.mkdir(parents=True, exist_ok=True)
    spoken = application(place, json.loads(sys.argv[3]), reads=sys.argv[4] == "reads")
    web.run_app(spoken, host="127.0.0.1", port=int(sys.argv[2]), print=None, handle_signals=False)
