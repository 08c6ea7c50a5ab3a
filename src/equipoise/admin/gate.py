"""What stands before every call of the admin API: host, token, role, size of the body, in this order.

Owns: who gets in, what an answer always carries, and what becomes of an exception that nobody expected.
Refuses to know: what there is behind it. A path that does not exist is refused like one that does, to whoever may not
look.

Written to ASGI itself, because the framework reads a body before it asks whose it is.
"""

import asyncio
import ipaddress
import math
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from equipoise.admin.auth import Caller, TokenError, Verifier
from equipoise.admin.failures import Failures
from equipoise.admin.problems import ProblemError, problem_response
from equipoise.config.addresses import parse_address
from equipoise.config.schema import Config
from equipoise.runtime.app_log import AppLog

READING: Final = frozenset({"GET", "HEAD", "OPTIONS"})
METRICS: Final = "/metrics"
DOCS: Final = ("/docs", "/redoc")
# How long the body of a call may take.
BODY_TIMEOUT: Final = 10.0
# What is still read of a body that is too large, so that the client reads the answer before it sees the connection end.
_SPILL: Final = 1024 * 1024
_SPILL_TIMEOUT: Final = 2.0

HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
# The pages of the framework hold a script of their own, and draw with styles and pictures that they carry.
_DOCS_POLICY: Final = (
    "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "worker-src blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@dataclass(frozen=True)
class Clocks:
    """Where the time comes from: of day (seconds since the epoch) and since any beginning."""

    wall: Callable[[], float] = lambda: datetime.now(UTC).timestamp()
    steady: Callable[[], float] = lambda: asyncio.get_running_loop().time()


class Gate:
    """The outermost of the app's middlewares."""

    def __init__(
        self,
        app: ASGIApp,
        config: Config,
        log: AppLog,
        clocks: Clocks | None = None,
        refused: Counter[int] | None = None,
    ) -> None:
        """Nobody has called yet.

        Args:
            app: what is behind it.
            config: of which `admin` and `state_dir` count.
            log: where refused tokens, writes and broken calls are told.
            clocks: what the time is.
            refused: how many calls were turned away here, by status; it is added to.
        """
        self._app = app
        self._turned_away: Counter[int] = Counter() if refused is None else refused
        self._admin = config.admin
        self._log = log
        self._clocks = clocks or Clocks()
        self._verifier = Verifier(config)
        self._failures = Failures()
        self._only_local = is_loopback(parse_address(config.admin.listen).host)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            return
        answer = _Answer(scope, send)
        try:
            await self._admit(scope, receive, answer)
        except ProblemError as refusal:
            self._turned_away[refusal.status_code] += 1
            await refusal.response()(scope, receive, answer.send)
        except Exception as error:  # noqa: BLE001 -- whatever it is, this call fails and no other
            self._log.error("a call of the admin API broke", path=scope["path"], exc_info=error)
            if answer.status == 0:
                await problem_response(500, "this is a defect; the log says more")(scope, receive, answer.send)
        if scope["method"] not in READING:
            self._tell(scope, answer.status)

    async def _admit(self, scope: Scope, receive: Receive, answer: "_Answer") -> None:
        headers = Headers(scope=scope)
        self._check_host(headers)
        if self._is_guarded(scope["path"]):
            caller = self._authenticate(headers, _address(scope))
            scope.setdefault("state", {})["caller"] = caller
            _authorise(caller, scope["method"])
        body = await self._body(headers, receive)
        if scope["method"] == "HEAD":
            await self._app({**scope, "method": "GET"}, _until(answer, body.receive), answer.send_head)
        else:
            await self._app(scope, body.receive, answer.send)

    def _check_host(self, headers: Headers) -> None:
        """A page of another site cannot reach a local balancer by a name of its own that resolves to this machine.

        Whoever forwards a port to this machine calls it `localhost` or by a loopback address all the same.
        """
        if self._only_local and not all(is_loopback(_host(value)) for value in headers.getlist("host")):
            raise ProblemError(421, "this is served to this machine only: call it localhost, 127.0.0.1 or [::1]")

    def _is_guarded(self, path: str) -> bool:
        return path == "/v1" or path.startswith("/v1/") or (path == METRICS and not self._admin.metrics_public)

    def _authenticate(self, headers: Headers, address: str) -> Caller:
        given = headers.getlist("authorization")
        if not given:
            raise self._refused(address, "", "a bearer token is needed")
        scheme, _, token = given[0].partition(" ")
        if len(given) > 1 or scheme.lower() != "bearer":
            raise self._refused(address, "no bearer token", "a bearer token is needed")
        try:
            return self._verifier.check(token.strip(" "), self._clocks.wall())
        except TokenError as error:
            raise self._refused(address, error.reason, error.public) from error

    def _refused(self, address: str, reason: str, detail: str) -> ProblemError:
        wait = self._failures.count(address, self._clocks.steady())
        if wait > 0:
            headers = {"Retry-After": str(math.ceil(wait))}
            return ProblemError(429, "too many calls from there without a valid token", headers=headers)
        challenge = 'Bearer realm="equipoise"'
        if reason:
            # RFC 6750 3.1; without any token, only the challenge.
            challenge += f', error="invalid_token", error_description="{detail}"'
            self._log.warning("token refused", client=address, reason=reason)
        return ProblemError(401, detail, headers={"WWW-Authenticate": challenge})

    async def _body(self, headers: Headers, receive: Receive) -> "_Body":
        """The whole body, so that nothing behind the gate waits for a client."""
        body, most = _Body(receive), self._admin.max_body
        length = headers.get("content-length", "0")
        try:
            async with asyncio.timeout(BODY_TIMEOUT):
                if int(length) <= most and await body.read(most):
                    return body
        except TimeoutError:
            raise ProblemError(408, "the body did not come in time", headers={"Connection": "close"}) from None
        if "expect" not in headers:
            await body.spill()
        raise ProblemError(413, f"the body must not be larger than {most} bytes", headers={"Connection": "close"})

    def _tell(self, scope: Scope, status: int) -> None:
        """Writes leave a trace of who asked for them."""
        caller = scope.get("state", {}).get("caller")
        if caller is not None:
            who = {"subject": caller.subject, "client": _address(scope)}
            self._log.info("admin call", method=scope["method"], path=scope["path"], status=status, **who)


def is_loopback(host: str) -> bool:
    """Whether a host, as in an address or a Host field without its port, is this machine and nothing else."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _host(value: str) -> str:
    """A Host field without the port, an IPv6 address without its brackets."""
    if value.startswith("["):
        return value[1:].partition("]")[0]
    return value.partition(":")[0]


def _address(scope: Scope) -> str:
    return str(scope["client"][0]) if scope.get("client") else ""


def _authorise(caller: Caller, method: str) -> None:
    needed = "read" if method in READING else "admin"
    if caller.role in {"admin", needed}:
        return
    challenge = f'Bearer realm="equipoise", error="insufficient_scope", scope="{needed}"'
    raise ProblemError(403, f'the role "{needed}" is needed', headers={"WWW-Authenticate": challenge})


class _Body:
    """The body of a call: read whole, then given on at once."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._pieces: list[bytes] = []
        self._size = 0
        self._given = False
        self._ended = False

    async def read(self, most: int) -> bool:
        """Read to the end, or until there is more than `most`; whether it was no more."""
        while not self._ended and self._size <= most:
            await self._read_on()
        return self._size <= most

    async def spill(self) -> None:
        """Read on for a moment and keep nothing."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_SPILL_TIMEOUT):
                while not self._ended and self._size < _SPILL:
                    await self._read_on()
                    self._pieces.clear()

    async def _read_on(self) -> None:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise ProblemError(400, "the client left")
        self._pieces.append(message.get("body", b""))
        self._size += len(self._pieces[-1])
        self._ended = not message.get("more_body", False)

    async def receive(self) -> Message:
        """See ASGI: the body in one piece, then whatever else the client does."""
        if self._given:
            return await self._receive()
        self._given = True
        return {"type": "http.request", "body": b"".join(self._pieces), "more_body": False}


class _Answer:
    """An answer on its way out: it gets the fields that every answer has."""

    def __init__(self, scope: Scope, send: Send) -> None:
        self._path = scope["path"]
        self._send = send
        # Of the answer; 0 until it has begun.
        self.status = 0
        self.ended = asyncio.Event()

    async def send(self, message: Message) -> None:
        """See ASGI."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(raw=list(message["headers"]))
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
            if self._path in DOCS:
                headers["Content-Security-Policy"] = _DOCS_POLICY
            message = {**message, "headers": headers.raw}
        await self._send(message)

    async def send_head(self, message: Message) -> None:
        """The same for HEAD: what the answer to a GET would begin with, and no body."""
        if message["type"] == "http.response.start":
            await self.send(message)
            await self._send({"type": "http.response.body", "body": b"", "more_body": False})
            self.ended.set()


def _until(answer: _Answer, receive: Receive) -> Receive:
    """For HEAD: the client counts as gone as soon as the answer has begun, so that no stream goes on."""
    given = False

    async def receive_or_end() -> dict[str, Any]:
        nonlocal given
        if not given:
            given = True
            return dict(await receive())
        await answer.ended.wait()
        return {"type": "http.disconnect"}

    return receive_or_end
