"""The demo's traffic as a process: `python -m equipoise.demo.traffic`.

Owns: how many requests are open (closed loop) or how many start a second (open loop), the mix of methods, the record.
Refuses to know: HTTP (traffic_http), gRPC (traffic_grpc), targets, the timeline of the demo.

Closed loop: C connections, each sends its next request as soon as the last one is answered. Open loop: requests are due
at random moments with a steady mean rate, and each takes an idle connection or a new one. With gRPC, a connection is a
caller: many of them share one.
"""

import argparse
import asyncio
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from random import Random
from time import monotonic
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import msgspec
import uvloop

from equipoise.demo.lines import encode, rfc3339, wall_seconds
from equipoise.demo.record import BUCKET_MS, Failure, Record
from equipoise.demo.target import Ticks
from equipoise.demo.traffic_http import Client, Job

if TYPE_CHECKING:
    from equipoise.demo.traffic_grpc import Channels, GrpcClient

# An answer later than this is no answer: the slowest of the demo's delays is far below it.
REQUEST_TIMEOUT: Final = 20.0
FINISH_TIMEOUT: Final = 10.0
# After a failure the next request of the connection waits, so that a dead balancer is not hammered by a busy loop.
PAUSE_AFTER_FAILURE: Final = 0.05
RATE_STEP: Final = 0.005


class TrafficSettings(msgspec.Struct, frozen=True):
    """What the traffic is told. A rate of 0 means the closed loop."""

    url: str
    record: Path
    concurrency: int = 120
    rate: float = 0.0
    duration: float = 60.0
    post_share: float = 0.1
    seed: int | None = None
    grpc: bool = False


class TrafficProcess:
    """Keeps requests coming until the duration is over or a signal ends it."""

    def __init__(self, settings: TrafficSettings, record: Record) -> None:
        # For the run.
        url = urlsplit(settings.url)
        self._settings = settings
        self._record = record
        self._host = url.hostname or "127.0.0.1"
        self._port = url.port or 80
        self._prefix = url.path.rstrip("/")
        self._random = Random(settings.seed)
        self._run_id = f"{int(wall_seconds() * 1000):x}"
        self._stopping = asyncio.Event()
        self._ended = asyncio.Event()
        # While it runs.
        self._channels: Channels | None = None
        self._clients: list[Client | GrpcClient] = []
        self._idle: list[Client | GrpcClient] = []
        self._sent = 0
        self._owed = 0.0

    async def run(self) -> None:
        """Runs the traffic to its end; every request that was started is answered or recorded as failed."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        _say("started", url=self._settings.url)
        ticks = [Ticks(BUCKET_MS, self._record.close_bucket), Ticks(1000, self._end_late_ones)]
        if self._settings.rate > 0:
            self._pace(monotonic())
        else:
            for _ in range(self._settings.concurrency):
                self._send(self._add_client())
        try:
            async with asyncio.timeout(self._settings.duration):
                await self._stopping.wait()
        except TimeoutError:
            self._stopping.set()
        _say("stopping")
        await self._finish()
        for tick in ticks:
            tick.stop()
        self._record.connections = sum(client.connects for client in self._clients)
        summary = self._record.finish(int(wall_seconds() * 1000))
        _say("stopped", **msgspec.to_builtins(summary))

    def _add_client(self) -> "Client | GrpcClient":
        client = self._new_client()
        self._clients.append(client)
        return client

    def _new_client(self) -> "Client | GrpcClient":
        if not self._settings.grpc:
            return Client(self._host, self._port, self._on_end)
        from equipoise.demo.traffic_grpc import Channels, GrpcClient  # noqa: PLC0415 (the extra may be absent)

        if self._channels is None:
            self._channels = Channels(self._host, self._port)
        return GrpcClient(self._channels, self._on_end)

    def _send(self, client: "Client | GrpcClient") -> None:
        self._sent += 1
        number = self._sent
        post = self._settings.grpc or self._random.random() < self._settings.post_share
        body = b""
        if post:
            body = b'{"order":%d,"items":["%b"]}' % (number, b"x" * self._random.randrange(400))
        method = "POST" if post else "GET"
        job = Job(f"{self._run_id}-{number}", method, f"{self._prefix}/orders/{number}", body)
        self._record.start(method)
        client.send(job)

    def _on_end(self, client: "Client | GrpcClient", target: str, latency_ms: float, failure: Failure | None) -> None:
        if failure is None:
            self._record.answer(target, latency_ms)
        else:
            self._record.fail(failure)
        self._ended.set()
        if self._settings.rate > 0:
            self._idle.append(client)
        elif failure is None:
            self._send_next(client)
        else:
            asyncio.get_running_loop().call_later(PAUSE_AFTER_FAILURE, self._send_next, client)

    def _send_next(self, client: "Client | GrpcClient") -> None:
        if not self._stopping.is_set():
            self._send(client)

    def _pace(self, last: float) -> None:
        """Open loop: sends what became due since the last call, in gaps that are random with a steady mean."""
        if self._stopping.is_set():
            return
        now = monotonic()
        self._owed += (now - last) * self._settings.rate
        while self._owed > 0:
            self._owed -= self._random.expovariate(1.0)
            self._send(self._idle.pop() if self._idle else self._add_client())
        asyncio.get_running_loop().call_later(RATE_STEP, self._pace, now)

    def _end_late_ones(self, _t_ms: int) -> None:
        limit = monotonic() - REQUEST_TIMEOUT
        for client in self._clients:
            if client.job is not None and client.job.start < limit:
                client.give_up("timeout")

    async def _finish(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(FINISH_TIMEOUT):
                while self._record.in_flight > 0:
                    self._ended.clear()
                    await self._ended.wait()
        for client in self._clients:
            if client.job is not None:
                client.give_up("timeout")
            client.close()
        if self._channels is not None:
            await self._channels.close()


def _say(event: str, **fields: object) -> None:
    sys.stdout.write(
        encode({"time": rfc3339(wall_seconds()), "t_ms": round(wall_seconds() * 1000), "event": event, **fields})
    )
    sys.stdout.flush()


def parse(arguments: Sequence[str]) -> TrafficSettings:
    """Reads the command line.

    Raises:
        SystemExit: with 2, when it is wrong.
    """
    parser = argparse.ArgumentParser(prog="python -m equipoise.demo.traffic", description="Traffic for the demo.")
    parser.add_argument("--url", required=True, help="where the balancer listens")
    parser.add_argument("--record", required=True, type=Path, help="file for the record, JSON lines")
    parser.add_argument("--concurrency", type=int, default=120, help="closed loop: requests open at any time")
    parser.add_argument("--rate", type=float, default=0.0, help="open loop: requests a second; 0: closed loop")
    parser.add_argument("--duration", type=float, default=60.0, help="seconds")
    parser.add_argument("--post-share", type=float, default=0.1, help="share of requests that are POST with a body")
    parser.add_argument("--seed", type=int, default=None, help="makes the sequence of requests repeatable")
    parser.add_argument("--grpc", action="store_true", help="gRPC calls, all of them POST")
    return TrafficSettings(**vars(parser.parse_args(arguments)))


def main() -> None:
    """Runs the traffic as the command line says."""
    settings = parse(sys.argv[1:])
    with settings.record.open("w", buffering=1, encoding="utf-8") as file:
        uvloop.run(TrafficProcess(settings, Record(file)).run())


if __name__ == "__main__":
    main()
