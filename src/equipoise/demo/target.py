"""A demo target as a process: listens, answers after a delay, logs its in-flight count, samples it finely.

Owns: the process's life from the listening line to the drain, its log, its samples.
Refuses to know: HTTP (target_http), gRPC (target_grpc), who starts it and why.
"""

import asyncio
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any, Final, Protocol, TextIO, cast

import msgspec
import uvloop

from equipoise.demo.delays import Delays, Jitter
from equipoise.demo.lines import encode, wall_seconds
from equipoise.demo.target_http import Counts, TargetConnection
from equipoise.demo.target_log import TargetLog

# Samples of all targets are taken at the same ticks of the wall clock, so that they can be joined.
SAMPLE_MS: Final = 50
DRAIN_SECONDS: Final = 30.0


class TargetSettings(msgspec.Struct, frozen=True):
    """What one demo target is told. Port 0 lets the operating system choose; an empty name becomes host:port."""

    port: int
    host: str = "127.0.0.1"
    name: str = ""
    delay_ms: float = 0.0
    jitter: Jitter = Jitter.NONE
    log_every: float = 10.0
    samples: Path | None = None
    log: Path | None = None
    seed: int | None = None
    reuse_port: bool = False
    grpc: bool = False


class Serving(Protocol):
    """A server that a target is. `address` is host:port once it listens."""

    address: str

    async def start(self, host: str, port: int) -> None:
        """Listens; raises OSError when the address cannot be had."""

    async def drain(self, seconds: float) -> None:
        """Takes nothing new, and returns when nothing is in flight, or after `seconds`."""


class HttpServing:
    """A server of HTTP/1.1."""

    def __init__(self, counts: Counts, *, reuse_port: bool) -> None:
        self.address = ""
        self._counts = counts
        self._reuse_port = reuse_port
        self._server: asyncio.Server | None = None

    async def start(self, host: str, port: int) -> None:
        """Listens; port 0 lets the operating system choose."""
        self._server = await asyncio.get_running_loop().create_server(
            cast("Any", lambda: TargetConnection(self._counts)),
            host,
            port,
            backlog=4096,
            reuse_port=self._reuse_port or None,
        )
        self.address = "{}:{}".format(*self._server.sockets[0].getsockname()[:2])

    async def drain(self, seconds: float) -> None:
        """Takes no new connection; the others end behind their answers."""
        assert self._server is not None
        self._server.close()
        counts = self._counts
        counts.draining = True
        for connection in list(counts.connections):
            connection.drain()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while counts.connections:
                    counts.left.clear()
                    await counts.left.wait()


class Ticks:
    """Calls a function at each multiple of a period of the wall clock."""

    def __init__(self, period_ms: int, on_tick: Callable[[int], None]) -> None:
        self._period_ms = period_ms
        self._on_tick = on_tick
        self._loop = asyncio.get_running_loop()
        self._handle: asyncio.TimerHandle | None = None
        self._due_ms = 0
        self._wait()

    def stop(self) -> None:
        """No further call."""
        if self._handle is not None:
            self._handle.cancel()

    def _wait(self) -> None:
        now_ms = wall_seconds() * 1000
        self._due_ms = (int(now_ms) // self._period_ms + 1) * self._period_ms
        self._handle = self._loop.call_later((self._due_ms - now_ms) / 1000, self._run)

    def _run(self) -> None:
        # uvloop counts whole milliseconds from the start of the loop's turn: a busy loop calls a little too early.
        now_ms = wall_seconds() * 1000
        if now_ms < self._due_ms:
            self._handle = self._loop.call_later((self._due_ms - now_ms) / 1000, self._run)
            return
        self._on_tick(int(now_ms) // self._period_ms * self._period_ms)
        self._wait()


class TargetProcess:
    """Runs one demo target until a signal ends it."""

    def __init__(self, settings: TargetSettings, log: TargetLog) -> None:
        self._settings = settings
        self._log = log
        self._samples: TextIO | None = None
        delays = Delays(settings.delay_ms, settings.jitter, Random(settings.seed))
        self._counts = Counts(settings.name, delays.draw)

    async def run(self) -> None:
        """Serves until SIGTERM or SIGINT, then finishes what is in flight."""
        loop = asyncio.get_running_loop()
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        settings = self._settings
        counts = self._counts
        serving = self._serving()
        await serving.start(settings.host, settings.port)
        counts.name = self._log.name = settings.name or serving.address
        with _open_samples(settings.samples) as self._samples:
            self._log.say(
                "listening",
                wall_seconds(),
                address=serving.address,
                delay_ms=settings.delay_ms,
                jitter=settings.jitter,
            )
            ticks = [Ticks(round(settings.log_every * 1000), self._log_in_flight), Ticks(SAMPLE_MS, self._sample)]
            await stop.wait()
            await serving.drain(DRAIN_SECONDS)
            for tick in ticks:
                tick.stop()
            self._sample(int(wall_seconds() * 1000) // SAMPLE_MS * SAMPLE_MS)
            self._log.say("stopped", wall_seconds(), in_flight=counts.in_flight, requests=counts.requests)

    def _serving(self) -> Serving:
        if not self._settings.grpc:
            return HttpServing(self._counts, reuse_port=self._settings.reuse_port)
        from equipoise.demo.target_grpc import GrpcServing  # noqa: PLC0415 (the extra may be absent)

        return GrpcServing(self._counts, reuse_port=self._settings.reuse_port)

    def _log_in_flight(self, t_ms: int) -> None:
        self._log.say("in_flight", t_ms / 1000, in_flight=self._counts.in_flight, requests=self._counts.requests)

    def _sample(self, t_ms: int) -> None:
        if self._samples is not None:
            sample = {"t_ms": t_ms, "in_flight": self._counts.in_flight, "requests": self._counts.requests}
            self._samples.write(encode(sample))


class _NoFile:
    """Stands where a samples file would, when none is wanted."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        return None


def _open_samples(path: Path | None) -> TextIO | _NoFile:
    return _NoFile() if path is None else path.open("a", buffering=1, encoding="utf-8")


def serve(settings: TargetSettings) -> None:
    """Runs a demo target in this process until a signal ends it; the log goes to standard output.

    Raises:
        OSError: the address cannot be had, or a file cannot be opened.
    """
    with TargetLog(settings.name, settings.log) as log:
        uvloop.run(TargetProcess(settings, log).run())
