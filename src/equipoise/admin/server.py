"""What carries the admin API inside the supervisor.

Owns: the life of the HTTP server beside the supervisor's other jobs, and its limits on connections.
Refuses to know: what is served (`app`).
"""

import asyncio
import contextlib
import importlib
import socket
from collections.abc import Iterator
from typing import Any, Final

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from equipoise.admin.auth import check_keys
from equipoise.admin.keys import KeyFileError
from equipoise.config.schema import Config
from equipoise.runtime.startup import UnfitError
from equipoise.runtime.supervisor import Supervisor

# Connections at a time; beyond, 503. Dashboards and scrapes need few, and file descriptors belong to the traffic.
CONNECTIONS: Final = 512
# How long the head of a call may take, and how long a connection may wait for the next.
HEAD_TIMEOUT: Final = 10.0
IDLE_TIMEOUT: Final = 60
LARGEST_HEAD: Final = 32 * 1024
# What is still on its way when the balancer leaves.
_LEAVING: Final = 1


def check(config: Config) -> None:
    """Make sure, before anything starts, that tokens can be checked.

    Raises:
        UnfitError: they cannot; the text says what to do.
    """
    try:
        check_keys(config, create=True)
    except KeyFileError as error:
        raise UnfitError(f"the admin API has no key: {error}") from error


async def serve(supervisor: Supervisor, sock: socket.socket) -> None:
    """Serve the admin API until cancelled; then streams end, and calls on their way have a second.

    Args:
        supervisor: what the API watches and changes.
        sock: where to accept; it is closed in the end.
    """
    with contextlib.closing(sock):
        # Half a second of imports, which must not hold up the health checks.
        await _serve(await asyncio.to_thread(_make, supervisor), sock)


def _make(supervisor: Supervisor) -> Any:
    app = importlib.import_module("equipoise.admin.app").make_app(supervisor)
    # A tenth of a second once, and not while somebody waits for it.
    app.openapi()
    return app


async def _serve(app: Any, sock: socket.socket) -> None:
    server = _Server(
        uvicorn.Config(
            app,
            http=_Protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            # The gate tells what is worth telling.
            log_level="critical",
            access_log=False,
            server_header=False,
            # A client's address is that of its connection: no field of a request changes it.
            proxy_headers=False,
            limit_concurrency=CONNECTIONS,
            timeout_keep_alive=IDLE_TIMEOUT,
            timeout_graceful_shutdown=_LEAVING,
            h11_max_incomplete_event_size=LARGEST_HEAD,
        )
    )
    async with asyncio.TaskGroup() as tasks:
        serving = tasks.create_task(server.serve([sock]))
        try:
            await asyncio.shield(serving)
        except asyncio.CancelledError:
            # Whoever caused this is answered in a moment, and what he asks next is for the process that follows.
            server.accept_no_more()
            app.state.streams.end()
            server.should_exit = True
            await serving
            raise


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are the supervisor's."""
        yield

    def accept_no_more(self) -> None:
        """Leave new connections, at once, to whoever has the socket too."""
        # There are none before it has started.
        for listening in getattr(self, "servers", ()):
            listening.close()


class _Protocol(H11Protocol):
    """A connection whose heads must come in time, the first one and every later one."""

    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """See asyncio."""
        super().connection_made(transport)
        self._expect_head()

    def data_received(self, data: bytes) -> None:
        """See asyncio."""
        super().data_received(data)
        if self.conn.their_state is h11.IDLE:
            self._expect_head()
        else:
            self._forget()

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio."""
        self._forget()
        super().connection_lost(exc)

    def _expect_head(self) -> None:
        if self._late is None:
            self._late = self.loop.call_later(HEAD_TIMEOUT, self._give_up)

    def _forget(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _give_up(self) -> None:
        self._late = None
        self.transport.close()
