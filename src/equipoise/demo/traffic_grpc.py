"""The traffic's side of gRPC: calls over a few connections, each answer checked.

Owns: the channels, the call, telling a right answer from a wrong one.
Refuses to know: how many calls are open, when the next one is due, what is written down.
Called by: traffic, and only with --grpc: grpcio is an extra.

Many calls share a connection, as gRPC clients do: what spreads them over the targets is the balancer alone.
"""

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import Any, Final

import grpc
import msgspec

from equipoise.demo.lines import wall_seconds
from equipoise.demo.record import Failure
from equipoise.demo.target_grpc import METHOD
from equipoise.demo.target_http import Answer
from equipoise.demo.traffic_http import Job

# Enough that the system's hashing gives each of several workers some.
CONNECTIONS: Final = 8

# What became of a job: the target that answered and the milliseconds it took, or the failure.
OnEnd = Callable[["GrpcClient", str, float, Failure | None], None]


class Channels:
    """Connections to the balancer, handed out in turn."""

    def __init__(self, host: str, port: int) -> None:
        """They connect with their first call."""
        # Each with subchannels of its own, or grpcio would make all of them one connection.
        options = [("grpc.use_local_subchannel_pool", 1)]
        self._all: list[Any] = [grpc.aio.insecure_channel(f"{host}:{port}", options) for _ in range(CONNECTIONS)]
        self._given = 0

    def next(self) -> tuple[Any, bool]:
        """A channel, and whether nobody had it before."""
        number = self._given
        self._given += 1
        return self._all[number % CONNECTIONS], number < CONNECTIONS

    async def close(self) -> None:
        """Closes all of them."""
        for channel in self._all:
            await channel.close()


class GrpcClient:
    """One caller: one call at a time. The interface is that of `traffic_http.Client`."""

    def __init__(self, channels: Channels, on_end: OnEnd) -> None:
        """Connects with the first call.

        Args:
            channels: where its connection comes from.
            on_end: called once for each call, never from within `send`.
        """
        channel, first = channels.next()
        self.connects = int(first)
        self.job: Job | None = None
        self._method: Any = channel.unary_unary(METHOD)
        self._on_end = on_end
        self._call: asyncio.Task[None] | None = None

    def send(self, job: Job) -> None:
        """Makes a call; `on_end` is told how it went."""
        assert self.job is None
        self.job = job
        job.start_ms = wall_seconds() * 1000
        job.start = monotonic()
        self._call = asyncio.get_running_loop().create_task(self._make(job))

    def give_up(self, kind: str) -> None:
        """Ends the call at hand as failed."""
        self._cancel()
        self._fail(kind)

    def close(self) -> None:
        """A call at hand is forgotten."""
        self.job = None
        self._cancel()

    def _cancel(self) -> None:
        call, self._call = self._call, None
        if call is not None:
            call.cancel()

    async def _make(self, job: Job) -> None:
        try:
            data = await self._method(job.body, metadata=(("x-request-id", job.request_id),))
        except grpc.aio.AioRpcError as error:
            self._fail(error.code().name, error.details() or "")
            return
        try:
            answer = msgspec.json.decode(data, type=Answer)
        except msgspec.DecodeError as error:
            self._fail("wrong answer", str(error))
            return
        if (answer.path, answer.body_length) != (METHOD, len(job.body)):
            self._fail("wrong answer", str(answer))
            return
        self.job = None
        self._on_end(self, answer.name, (monotonic() - job.start) * 1000, None)

    def _fail(self, kind: str, detail: str = "") -> None:
        job = self.job
        if job is None:
            return
        self.job = None
        self._on_end(self, "", 0.0, job.failed(kind, detail))
