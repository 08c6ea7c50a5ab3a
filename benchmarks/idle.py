"""Memory for each idle connection.

Owns: the many client connections and the two states they rest in: just opened, and kept alive after one request.
Refuses to know: what is at the other end.
"""

import contextlib
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks import load, sanity
from benchmarks.measure import Bench, running, warm_rss
from benchmarks.model import REQUEST_HEADERS, IdleFigures, Results, Row, body_path
from benchmarks.process import ProcessFailed, settled_rss

CONNECTIONS = 10_000
BATCH = 100
# One source address has some 28,000 ports towards one listener, and earlier loads have used up part of them.
SOURCES = 8
DESCRIPTORS_BESIDE = 1_000


class ConnectionsLost(Exception):
    """Not all connections were answered, or not all stayed."""


@dataclass
class Client:
    """Many connections to one listener."""

    port: int
    sockets: list[socket.socket]

    def open(self, count: int) -> None:
        """Open so many more. Every `BATCH` the last one is answered once, so that the accept queue never overflows."""
        for number in range(count):
            source = f"127.0.0.{number % SOURCES + 1}"
            with contextlib.ExitStack() as undo:
                each = undo.enter_context(socket.socket())
                each.setsockopt(socket.IPPROTO_IP, getattr(socket, "IP_BIND_ADDRESS_NO_PORT", 24), 1)
                each.bind((source, 0))
                each.settimeout(10)
                each.connect(("127.0.0.1", self.port))
                undo.pop_all()
            self.sockets.append(each)
            if number % BATCH == BATCH - 1:
                exchange(self.sockets[-1:])

    def request_on_all(self) -> None:
        """One request and its answer on each connection."""
        for start in range(0, len(self.sockets), BATCH):
            exchange(self.sockets[start : start + BATCH])

    def lost(self) -> int:
        """How many were closed by the other side, which an idle connection shows by being readable."""
        count = 0
        for each in self.sockets:
            each.setblocking(False)
            try:
                each.recv(1)
            except BlockingIOError:
                continue
            except OSError:
                pass
            count += 1
        return count

    def close(self) -> None:
        """Close them all."""
        for each in self.sockets:
            each.close()
        self.sockets.clear()


def exchange(sockets: Sequence[socket.socket]) -> None:
    """Send a request on each, then read the answer of each."""
    head = "".join(f"{name}: {value}\r\n" for name, value in REQUEST_HEADERS)
    request = f"GET {body_path('100B')} HTTP/1.1\r\n{head}\r\n".encode()
    for each in sockets:
        each.sendall(request)
    for each in sockets:
        received = b""
        while not _complete(received):
            data = each.recv(65536)
            if not data:
                raise ConnectionsLost(f"a connection was closed after {received[:60]!r}")
            received += data
        if not received.startswith(b"HTTP/1.1 200"):
            raise ConnectionsLost(f"a request was answered with {received[:60]!r}")


def _complete(received: bytes) -> bool:
    """A head and the 100 bytes of the body; some peers send the latter in chunks, whose end is the only "0" line."""
    head, end, body = received.partition(b"\r\n\r\n")
    if b"chunked" in head.lower():
        return body.endswith(b"\r\n0\r\n\r\n")
    return bool(end) and len(body) >= 100


def measure_idle(bench: Bench, rows: Sequence[Row], descriptors: int, results: Results) -> None:
    """`CONNECTIONS` idle connections on each row in turn, one worker each."""
    if descriptors < CONNECTIONS + DESCRIPTORS_BESIDE:
        results.problems.append(f"idle connections: left out, only {descriptors} open files are allowed")
        return
    for row in rows:
        if bench.time_left() < 15:
            results.problems.append(f"idle connections: out of time at {row.name}")
            return
        try:
            figures = _idle(bench, row)
        except (OSError, ConnectionsLost, ProcessFailed, load.LoadFailed, sanity.NotSane) as error:
            results.problems.append(f"idle connections, {row.name}: {error!r}")
            bench.say(f"    {row.name:28} FAILED: {error!r}")
            continue
        results.idle.append(figures)
        results.problems.extend(f"idle connections, {row.name}: {error}" for error in figures.errors)
        bench.say(f"    {row.name:28} {figures.opened_bytes:8.0f} B opened, {figures.kept_bytes:8.0f} B kept alive")


def _idle(bench: Bench, row: Row) -> IdleFigures:
    with running(bench, row, workers=1) as target:
        base = warm_rss(bench, target)
        client = Client(target.place.port, [])
        try:
            began = time.monotonic()
            client.open(CONNECTIONS)
            opened = settled_rss(target.process.pid, deadline_s=3)
            client.request_on_all()
            kept = settled_rss(target.process.pid)
            lost = client.lost()
            bench.say(f"    {row.name:28} {time.monotonic() - began:.1f} s for {CONNECTIONS} connections")
        finally:
            client.close()
    return IdleFigures(
        row=row.name,
        connections=CONNECTIONS,
        base_rss_bytes=base,
        opened_bytes=(opened - base) / CONNECTIONS,
        kept_bytes=(kept - base) / CONNECTIONS,
        errors=(f"{lost} of {CONNECTIONS} connections did not stay",) if lost else (),
    )
