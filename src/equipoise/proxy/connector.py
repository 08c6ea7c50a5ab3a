"""New connections to targets.

Owns: connecting, to the addresses of a target in turn; TLS; which protocol a target speaks; who waits for a connection
that many exchanges will share.
Refuses to know: the protocols themselves, what becomes of a failure.
"""

import asyncio
import errno
import ssl
from collections.abc import Awaitable, Callable
from typing import Any, Final

from equipoise.errors import RETRY_ALWAYS, SELF, ProxyError, limited, upstream_failed
from equipoise.proxy.services import Services
from equipoise.proxy.sides import Connector, Relay
from equipoise.proxy.tls import handshake_problem
from equipoise.proxy.tls_connection import TlsConnection
from equipoise.proxy.upstream_http1 import UpstreamHttp1
from equipoise.proxy.upstream_http2 import TargetConnection
from equipoise.state.snapshot import Target

# Errors of connect(2) that say that this machine, not the target, is out of something.
OWN_ERRORS: Final = frozenset({"EMFILE", "ENFILE", "ENOBUFS", "ENOMEM", "EADDRNOTAVAIL"})

Made = UpstreamHttp1 | TargetConnection


class Undecided:
    """The first protocol of a connection: goes over to HTTP/2, or to what the target chose over TLS (RFC 7301)."""

    def __init__(self, services: Services, target: Target) -> None:
        self._services = services
        self._slot = target.slot
        # Made now: by the time it is connected, the target's address may be another one.
        self.stack = services.idle.stack(target.slot)
        self.made: Made | None = None

    def connection_made(self, transport: Any) -> None:
        """See asyncio.Protocol."""
        secure = transport.get_extra_info("ssl_object")
        made: Made
        if secure is None or secure.selected_alpn_protocol() == "h2":
            made = TargetConnection(self._services, self._slot)
        else:
            made = UpstreamHttp1(self._services, self._slot)
        made.stack = self.stack
        self.made = made
        transport.set_protocol(made)
        made.connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        """See asyncio.Protocol; the handshake has failed."""


class TcpConnector(Connector):
    """New connections, each in a task of its own: this is not the fast path."""

    def __init__(self, services: Services, loop: asyncio.AbstractEventLoop) -> None:
        self.services = services
        self.loop = loop
        # Makes what stands between a connection and a protocol that speaks over TLS.
        self.secured: Callable[..., Any] = TlsConnection
        self.tasks: set[asyncio.Task[None]] = set()
        self.turn = 0
        # By slot: exchanges that wait for a connection which they may share, and targets of whom it is known that they
        # chose HTTP/1.1.
        self.waiting: dict[int, list[Relay]] = {}
        self.alone: set[int] = set()

    def connect(self, target: Target, relay: Relay) -> None:
        """See `Connector.connect`."""
        slot = int(target.slot)
        if target.scheme == "http" or (target.scheme == "https" and (relay.head.upgrade or slot in self.alone)):
            self._start(self._connect_alone(target, relay))
        elif slot in self.waiting:
            self.waiting[slot].append(relay)
        else:
            self.waiting[slot] = [relay]
            self._start(self._connect_shared(target))

    def _start(self, work: Any) -> None:
        task = self.loop.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _connect_alone(self, target: Target, relay: Relay) -> None:
        """Makes a connection for one exchange."""
        upstream = UpstreamHttp1(self.services, target.slot)
        context = None if target.tls is None else target.tls_http1
        failure = await self._in_time(self._first(target, upstream, context))
        if failure is None and upstream.transport.is_closing():
            failure = closed_at_once()
        if failure is None:
            relay.connected(upstream)
        else:
            relay.upstream_failed(failure)

    async def _connect_shared(self, target: Target) -> None:
        """Makes a connection for all who wait for it; when the target speaks HTTP/1.1, for the first of them."""
        slot = int(target.slot)
        undecided = Undecided(self.services, target)
        failure = await self._in_time(self._settle(target, undecided))
        waiting = self.waiting.pop(slot)
        made = undecided.made
        if failure is None and made is not None:
            failure = self._hand_out(made, slot, waiting)
        if failure is not None:
            if made is not None:
                made.transport.abort()
            for relay in waiting:
                relay.upstream_failed(failure)
            return
        for relay in waiting:
            self.connect(target, relay)

    async def _settle(self, target: Target, undecided: Undecided) -> None:
        """Connects, and waits until a target that speaks HTTP/2 has said how many streams it takes."""
        await self._first(target, undecided, target.tls)
        made = undecided.made
        if isinstance(made, TargetConnection) and not made.settled and not made.over:
            settled = asyncio.Event()
            made.ready = settled.set
            await settled.wait()

    def _hand_out(self, made: Made, slot: int, waiting: list[Relay]) -> ProxyError | None:
        """Gives a new connection to those who wait, and takes them off the list; or says why it is of no use."""
        if isinstance(made, UpstreamHttp1):
            if made.transport.is_closing():
                return closed_at_once()
            self.alone.add(slot)
            waiting.pop(0).connected(made)
            return None
        if made.over or not made.settled:
            return upstream_failed("malformed", RETRY_ALWAYS, "The target does not speak HTTP/2.")
        if not made.has_room():
            return upstream_failed("refused_stream", RETRY_ALWAYS, "The target takes no streams.")
        self.alone.discard(slot)
        if not made.stack.shut:
            made.stack.shared.append(made)
        while waiting and made.has_room():
            waiting.pop(0).connected(made.open())
        if made.stack.shut:
            made.retire()
        return None

    async def _in_time(self, work: Awaitable[None]) -> ProxyError | None:
        """Gives work the time that a connection may take; returns what went wrong."""
        try:
            async with asyncio.timeout(self.services.world().limits.connect_seconds):
                await work
        except TimeoutError:
            detail = "The target did not accept a connection in time."
            return limited("connect_timeout", upstream_failed("connect_timeout", RETRY_ALWAYS, detail, 504))
        except OSError as error:
            return connect_failure(error)
        return None

    async def _first(self, target: Target, protocol: Any, context: Any) -> None:
        """Connects to the first of the target's addresses that accepts, beginning with another one each time."""
        self.turn += 1
        last: OSError = ConnectionRefusedError("the target has no address")
        for i in range(len(target.addresses)):
            address = target.addresses[(self.turn + i) % len(target.addresses)]
            try:
                if context is None:
                    await self.loop.create_connection(lambda: protocol, address, target.port)
                else:
                    secure = self.secured(self.services, protocol, context, target.server_name)
                    await self._shake(secure, address, target.port)
            except OSError as error:
                last = error
            else:
                return
        try:
            raise last
        finally:
            # Its traceback holds this frame, which holds it.
            del last

    async def _shake(self, secure: Any, address: str, port: int) -> None:
        shaken = self.loop.create_future()
        secure.shaken = shaken
        await self.loop.create_connection(lambda: secure, address, port)
        try:
            await shaken
        except BaseException:
            # Who no longer waits must not get it later.
            secure.abort()
            raise


def closed_at_once() -> ProxyError:
    """A target that accepts and closes: nothing was sent."""
    return upstream_failed("reset", RETRY_ALWAYS, "The target closed the connection at once.")


def connect_failure(error: OSError) -> ProxyError:
    """What a failed connect means: nothing reached the target, so another one may always be tried."""
    if isinstance(error, ssl.SSLError):
        detail = f"The TLS handshake with the target failed: {handshake_problem(error)}."
        return upstream_failed("tls_failed", RETRY_ALWAYS, detail)
    code = errno.errorcode.get(error.errno or 0, "")
    if code in OWN_ERRORS:
        detail = f"No connection can be made from here: {code}."
        return limited("open_files", ProxyError("no_resources", SELF, RETRY_ALWAYS, 503, detail))
    kind = "connect_refused" if isinstance(error, ConnectionRefusedError) else "connect_failed"
    return upstream_failed(kind, RETRY_ALWAYS, "The target did not accept a connection.")
