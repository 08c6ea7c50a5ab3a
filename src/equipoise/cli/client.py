"""One client of the admin API: requests over one kept connection.

Owns: the connection, the deadline of a call, and the ways a call can fail.
Refuses to know: what is asked for, and how a failure is told to a person.
"""

import json
import socket
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import quote, urlencode, urlsplit

from equipoise import __version__
from equipoise.cli.access import Access

TIMEOUT: Final = 5.0
"""Seconds for connecting, and for each wait for a piece of the answer."""
WRITE_TIMEOUT: Final = 30.0
"""Seconds for the answer to a change: it comes when every worker acts on it."""
_MOST: Final = 64 * 1024 * 1024


@dataclass(frozen=True)
class Answer:
    """A good answer: its body as it came, and what it says."""

    text: str
    data: Any


class Unreachable(Exception):
    """There was no answer; `reason` says why in a few words."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Refused(Exception):
    """An answer that is no success.

    Attributes:
        status: of the HTTP response.
        detail: what the API says is the matter.
        places: for each thing that is wrong with the request, where and what.
    """

    def __init__(self, status: int, detail: str, places: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(status, detail)
        self.status = status
        self.detail = detail
        self.places = places


class Client:
    """Asks and tells. Use it from one thread; only `interrupt` may come from another."""

    def __init__(self, access: Access, timeout: float = TIMEOUT) -> None:
        """Connects to nothing yet."""
        self.access = access
        self._timeout = timeout
        parts = urlsplit(access.url)
        self._base = f"{parts.path.rstrip('/')}/v1"
        kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        self._connection = kind(parts.hostname or "", parts.port, timeout=timeout)
        # Whether the connection has carried an answer: the other side may have closed it since.
        self._used = False
        self._patience = max(timeout, WRITE_TIMEOUT)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the connection; the next call makes another."""
        self._connection.close()
        self._used = False

    def interrupt(self) -> None:
        """Let a call that waits for its answer fail; from any thread."""
        sock = self._connection.sock
        if sock is not None:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def get(self, *path: str) -> Answer:
        """GET. Raises Unreachable or Refused, as the others do."""
        return self._call("GET", path)

    def post(self, *path: str, body: object = None, patience: float = WRITE_TIMEOUT) -> Answer:
        """POST; `patience` is how many seconds the answer may take, where it takes longer than any other."""
        usual, self._patience = self._patience, max(self._timeout, patience)
        try:
            return self._call("POST", path, body=body)
        finally:
            self._patience = usual

    def put(self, *path: str, body: object) -> Answer:
        """PUT."""
        return self._call("PUT", path, body=body)

    def patch(self, *path: str, body: object) -> Answer:
        """PATCH."""
        return self._call("PATCH", path, body=body)

    def delete(self, *path: str, **query: str) -> Answer:
        """DELETE."""
        return self._call("DELETE", path, query=query)

    def _call(
        self, method: str, path: tuple[str, ...], body: object = None, query: Mapping[str, str] | None = None
    ) -> Answer:
        url = "/".join([self._base, *(quote(part, safe="") for part in path)])
        if query:
            url += f"?{urlencode(query)}"
        if method != "GET":
            # What was sent on a connection that the other side has closed must be sent again, and a change is not
            # sent twice: it gets a new one.
            self.close()
        try:
            response, text = self._exchange(method, url, body)
        except (OSError, HTTPException, ValueError) as error:
            self.close()
            raise Unreachable(_reason(error, self._timeout if method == "GET" else self._patience)) from error
        return _answer(response, text)

    def _exchange(self, method: str, url: str, body: object) -> tuple[HTTPResponse, bytes]:
        try:
            return self._try(method, url, body)
        except ConnectionError:
            if not self._used:
                raise
        self.close()
        return self._try(method, url, body)

    def _try(self, method: str, url: str, body: object) -> tuple[HTTPResponse, bytes]:
        self._connection.request(method, url, _encoded(body), self._fields(body))
        if method != "GET":
            self._connection.sock.settimeout(self._patience)
        response = self._connection.getresponse()
        text = response.read(_MOST)
        self._used = True
        return response, text

    def _fields(self, body: object) -> dict[str, str]:
        fields = {"Accept": "application/json", "User-Agent": f"equipoise/{__version__}"}
        if body is not None:
            fields["Content-Type"] = "application/json"
        if token := self.access.token():
            fields["Authorization"] = f"Bearer {token}"
        return fields


def _encoded(body: object) -> bytes | None:
    return None if body is None else json.dumps(body).encode()


def _reason(error: Exception, timeout: float) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {timeout:g} s"
    if isinstance(error, OSError):
        return error.strerror or str(error)
    if isinstance(error, HTTPException):
        return f"what answers there does not speak HTTP ({type(error).__name__})"
    # http.client refuses to send control characters; never repeat them, they may be a token's.
    return "the token or a name holds characters that cannot be sent"


def _answer(response: HTTPResponse, body: bytes) -> Answer:
    text = body.decode(errors="replace")
    try:
        data = json.loads(text) if text else None
    except (ValueError, RecursionError):
        data = None
    if 200 <= response.status < 300 and isinstance(data, dict):
        return Answer(text.rstrip("\n"), data)
    if isinstance(data, dict) and "title" in data:
        raise Refused(response.status, str(data.get("detail") or data["title"]), _places(data.get("errors")))
    raise Refused(response.status, f"{response.status} {response.reason}, and not in the words of the admin API")


def _places(errors: object) -> tuple[tuple[str, str], ...]:
    if not isinstance(errors, list):
        return ()
    return tuple((str(e.get("place", "")), str(e.get("message", ""))) for e in errors if isinstance(e, dict))
