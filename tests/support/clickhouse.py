"""ClickHouse's engine (chDB) as a server: `python tests/support/clickhouse.py FOLDER PORT`.

It speaks as much of the protocol by HTTP as a client library needs that asks and inserts. One query is answered at a
time. What it has answered is in FOLDER, however it ends.
"""

import re
import sys
import tempfile
from importlib import import_module
from pathlib import Path
from typing import Any

from aiohttp import web

OURS = frozenset({"database", "default_format", "query", "query_id", "session_id", "client_protocol_version"})
INSERT = re.compile(rb"\s*(INSERT INTO .*?) FORMAT (\w+)\n", re.DOTALL)
CODE = re.compile(r"Code: (\d+)")
LARGEST_BYTES = 1 << 30


def application(session: Any) -> web.Application:
    """All that it answers."""

    async def answer(request: web.Request) -> web.Response:
        body = await request.read()
        asked = request.query
        given = {name: value for name, value in asked.items() if name not in OURS}
        query = (asked.get("query", "").encode() + b"\n" + body).lstrip()
        try:
            if not query:
                return web.Response(text="Ok.\n")
            found = INSERT.match(query)
            if found:
                insert(found[1].decode(), found[2].decode(), query[found.end() :], given)
                return web.Response()
            told = session.query(query.decode(), "TabSeparated").bytes()
        except Exception as error:  # noqa: BLE001 - the engine's own words are the answer
            code = CODE.search(str(error))
            return web.Response(
                status=500, text=str(error), headers={"X-ClickHouse-Exception-Code": code[1] if code else "0"}
            )
        return web.Response(body=told)

    def insert(statement: str, form: str, data: bytes, settings: dict[str, str]) -> None:
        with tempfile.NamedTemporaryFile(suffix=".data") as file:
            file.write(data)
            file.flush()
            told = ", ".join(
                f"{name} = '{value}'" for name, value in settings.items() if name.startswith(("insert_", "async_"))
            )
            clause = f" SETTINGS {told}" if told else ""
            session.query(f"{statement} FROM INFILE '{file.name}'{clause} FORMAT {form}")

    made = web.Application(client_max_size=LARGEST_BYTES)
    made.router.add_route("*", "/{tail:.*}", answer)
    return made


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    session = import_module("chdb.session").Session(str(folder))
    web.run_app(application(session), host="127.0.0.1", port=int(sys.argv[2]), print=None)
