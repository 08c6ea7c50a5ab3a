"""All clients at once, until they are told to stop.

Owns: who they are, how many, the pauses between two requests of one.
Refuses to know: what each of them does.
"""

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

from benchmarks.soak.calls import CallClient, SocketClient, channel
from benchmarks.soak.client import Client, Side
from benchmarks.soak.http1 import Http1Client, LeavingClient, SlowClient
from benchmarks.soak.http2 import Http2Client, Shared
from benchmarks.soak.record import Record

HTTP1_CLIENTS: Final = 8
HTTP2_CLIENTS: Final = 6
CALL_CLIENTS: Final = 5
SOCKET_CLIENTS: Final = 4
SLOW_CLIENTS: Final = 2
LEAVING_CLIENTS: Final = 1
LAG_EVERY_S: Final = 0.1
# Seconds that a client waits longer, for each that the loop is late.
LAG_FACTOR: Final = 5.0


@dataclass(frozen=True)
class Sides:
    """The two listeners, the second with ALPN for HTTP/2 too, and the certificate that clients of it believe."""

    plain: Side
    tls: Side
    tls_http2: Side
    certificate: bytes


def clients(sides: Sides, record: Record, draw: random.Random) -> list[Client]:
    """The clients, half of each kind over TLS."""
    found: list[Client] = []

    def fork() -> random.Random:
        return random.Random(draw.getrandbits(64))

    for side, side_http2, suffix in ((sides.plain, sides.plain, ""), (sides.tls, sides.tls_http2, ", TLS")):
        found += [Http1Client(f"HTTP/1{suffix}", side, record, fork()) for _ in range(HTTP1_CLIENTS)]
        shared = Shared(side_http2)
        found += [Http2Client(f"HTTP/2{suffix}", shared, record, fork()) for _ in range(HTTP2_CLIENTS)]
        link: Any = channel(side, sides.certificate)
        found += [CallClient(f"gRPC call{suffix}", link, record, fork()) for _ in range(CALL_CLIENTS)]
        found += [SocketClient(f"WebSocket{suffix}", side, record, fork()) for _ in range(SOCKET_CLIENTS)]
        found += [SlowClient(f"slow reader{suffix}", side, record, fork()) for _ in range(SLOW_CLIENTS)]
        found += [LeavingClient(f"leaves early{suffix}", side, record, fork()) for _ in range(LEAVING_CLIENTS)]
    return found


class Traffic:
    """Runs the clients while the context lasts; leaving it, each ends what it is at, and all connections are closed."""

    def __init__(self, members: Sequence[Client], pause_s: float) -> None:
        """`pause_s` is the longest that a client waits between two requests, in seconds."""
        self._members = members
        self._pause_s = pause_s
        self._lag_s = 0.0
        self._stopping = False
        self._group = asyncio.TaskGroup()

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        self._group.create_task(self._measure())
        for member in self._members:
            self._group.create_task(self._run(member))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping = True
        await self._group.__aexit__(kind, error, trace)
        for member in self._members:
            await member.close()

    async def _run(self, member: Client) -> None:
        while not self._stopping:
            await member.step()
            await asyncio.sleep(member.draw.random() * (self._pause_s + LAG_FACTOR * self._lag_s))

    async def _measure(self) -> None:
        """How late this loop is. Clients that are late themselves ask less, lest they take the balancer for slow."""
        while not self._stopping:
            before = time.monotonic()
            await asyncio.sleep(LAG_EVERY_S)
            late = time.monotonic() - before - LAG_EVERY_S
            self._lag_s += (late - self._lag_s) / 4
