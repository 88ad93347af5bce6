"""Logins of browsers: a token is shown once, and a cookie that no script can read stands for it from then on.

A cookie is sent by a browser whatever page asks, so it counts only where the browser says that the page is ours: no
page of another site, and none of another port of this machine, has the feed read by it.
"""

import asyncio
import logging
import secrets
from collections import OrderedDict
from hashlib import sha256
from http import HTTPStatus

import msgspec
from aiohttp import web
from msgspec import Struct

from aggregator.feed.access import TOKEN_BYTES, Access
from aggregator.feed.formats import encode_message
from aggregator.feed.protocol import Authenticated, BadRequest, Bye
from aggregator.feed.subscriber import Subscriber

LOGIN_S = 12 * 3600.0  # seconds that a login holds
MOST_LOGINS = 1000  # at once; then the oldest ends
LONGEST_BODY_BYTES = 4096  # a post is no longer
LOGGED_OUT = "logged out"
OURS = {None, "same-origin", "none"}  # `Sec-Fetch-Site` of what our pages ask, a person, or no browser

log = logging.getLogger("aggregator.feed")


class ShownToken(Struct, forbid_unknown_fields=True):
    """The body of a login."""

    token: str


class Login:
    """One login: what it allows, until when, and the streams that were opened by it."""

    __slots__ = ("access", "streams", "until")

    def __init__(self, access: Access, until: float) -> None:
        self.access = access
        self.until = until
        self.streams: set[Subscriber] = set()


class Logins:
    """The logins of one port. They are forgotten with the daemon, and known by the hash of what the cookie holds."""

    def __init__(self, port: int, *, is_secure: bool) -> None:
        """Have none; `is_secure` says that the port speaks TLS.

        A cookie goes to all ports of a host, so its name tells of which it is.
        """
        self._cookie = f"{'__Host-' if is_secure else ''}aggregator-{port}"
        self._is_secure = is_secure
        self._found: OrderedDict[bytes, Login] = OrderedDict()

    def begin(self, access: Access) -> web.Response:
        """Log in whoever has shown a token."""
        value = secrets.token_urlsafe(TOKEN_BYTES)
        self._found[_key(value)] = Login(access, asyncio.get_running_loop().time() + LOGIN_S)
        while len(self._found) > MOST_LOGINS:
            self._end(next(iter(self._found)), "too many have logged in since")
        topics = None if access.topics is None else list(access.topics)
        answer = _answer(encode_message(Authenticated(access.name, topics)))
        answer.set_cookie(
            self._cookie,
            value,
            max_age=int(LOGIN_S),
            path="/",
            secure=self._is_secure,
            httponly=True,
            samesite="Strict",
        )
        return answer

    def end(self, request: web.Request) -> web.Response:
        """Log out: hang up on the streams of this login, and have the browser forget the cookie."""
        self._end(_key(request.cookies.get(self._cookie, "")), LOGGED_OUT)
        answer = _answer(encode_message(Bye(LOGGED_OUT)))
        answer.del_cookie(self._cookie, path="/", secure=self._is_secure, httponly=True, samesite="Strict")
        return answer

    def find(self, request: web.Request) -> Login | None:
        """The login of a request, where it has a cookie that counts.

        The guard has refused every `Origin` that is not ours. Requests that have none are those of a page for an
        image or a script: there the browser says by `Sec-Fetch-Site` whether the page is ours. A WebSocket always has
        an `Origin`; what has none is no browser, and shows its token.
        """
        login = self._found.get(_key(request.cookies.get(self._cookie, "")))
        if login is None or login.until <= asyncio.get_running_loop().time():
            return None
        if "Origin" in request.headers:
            return login
        is_ours = request.path != "/feed" and request.headers.get("Sec-Fetch-Site") in OURS
        return login if is_ours else None

    def sweep(self, now: float) -> None:
        """End the logins that have held long enough."""
        for key in [key for key, login in self._found.items() if login.until <= now]:
            self._end(key, "the login has ended: log in again")

    def _end(self, key: bytes, reason: str) -> None:
        login = self._found.pop(key, None)
        for subscriber in list(login.streams) if login is not None else ():
            subscriber.part(reason)


async def token_in(request: web.Request, seconds: float) -> str:
    """The token in the body of a login, which comes within some seconds. Raises BadRequest where there is none.

    No form of another site can post JSON by that name: a browser asks first whether it may.
    """
    if request.content_type != "application/json":
        raise BadRequest('post JSON, as application/json: {"token":"TOKEN"}')
    try:
        async with asyncio.timeout(seconds):
            body = await request.read()
    except TimeoutError:
        raise BadRequest("the body did not come in time") from None
    except web.HTTPRequestEntityTooLarge:
        raise BadRequest(f"a login has at most {LONGEST_BODY_BYTES} bytes") from None
    try:
        return msgspec.json.decode(body, type=ShownToken).token
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(f'{error}; post {{"token":"TOKEN"}}') from None


def _key(value: str) -> bytes:
    return sha256(value.encode("utf-8", "surrogatepass")).digest()


def _answer(body: bytes) -> web.Response:
    return web.Response(status=HTTPStatus.OK, body=body, content_type="application/json")
