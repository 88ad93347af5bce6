"""The web page's files, as `make web` has built them from `web/`, and the catalogue that it shows.

Nobody needs a token for them: they hold nothing of this daemon. What the page shows of it, it asks for as every client.
"""

import gzip
from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from importlib import resources
from types import MappingProxyType

from aiohttp import web
from msgspec import Struct

KINDS = {
    "css": "text/css",
    "html": "text/html",
    "js": "text/javascript",
    "json": "application/json",
    "svg": "image/svg+xml",
    "txt": "text/plain",
}
CATALOGUE = {"exchanges": "data/exchanges.json", "countries": "data/countries.json", "words": "docgen/words.json"}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Cache-Control": "no-cache",  # a browser keeps it, and asks whether it is still the same
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Vary": "Accept-Encoding",
}


class PageFile(Struct, frozen=True):
    """One file: as it is, compressed, its media type, and a tag that changes with it."""

    body: bytes
    packed: bytes
    kind: str
    tag: str


@cache
def page_files() -> Mapping[str, PageFile]:
    """Every file of the page by its address; `/` is the page itself."""
    package = resources.files("aggregator")
    built = sorted((package / "web").iterdir(), key=lambda each: each.name)
    files = {f"/{each.name}": _file(each.name, each.read_bytes()) for each in built}
    files["/"] = files.pop("/index.html")
    parts = (b'"%s":%s' % (name.encode(), (package / path).read_bytes()) for name, path in CATALOGUE.items())
    files["/catalogue.json"] = _file("catalogue.json", b"{" + b",".join(parts) + b"}")
    return MappingProxyType(files)


def answer(request: web.Request) -> web.Response:
    """The file that is asked for, or word that the browser has it."""
    file = page_files()[request.path]
    headers = {"ETag": f'"{file.tag}"'}
    if any(tag.value in {file.tag, "*"} for tag in request.if_none_match or ()):
        return web.Response(status=304, headers=headers)
    if "gzip" in request.headers.get("Accept-Encoding", ""):
        return web.Response(
            body=file.packed, headers=headers | {"Content-Encoding": "gzip"}, content_type=file.kind, charset="utf-8"
        )
    return web.Response(body=file.body, headers=headers, content_type=file.kind, charset="utf-8")


def _file(name: str, body: bytes) -> PageFile:
    kind = KINDS[name.rpartition(".")[2]]
    return PageFile(body, gzip.compress(body, mtime=0), kind, sha256(body).hexdigest()[:16])
