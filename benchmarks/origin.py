"""The targets of every run: one nginx that answers on as many ports as there are targets, and of HTTP/2 some nghttpd.

An nginx cannot stand for a service of gRPC: it answers before it has read the message. nghttpd waits for it.

Owns: its configuration, its ports, the bodies it serves.
Refuses to know: who asks.
"""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.model import BODIES, CACHED, CALL, CALL_PATH, Link, Row, body_bytes
from benchmarks.process import Process, ProcessFailed, free_ports
from benchmarks.render import render

MAX_TARGETS = 500
MAX_HTTP2_TARGETS = 5
START_ATTEMPTS = 3


@dataclass(frozen=True)
class Origin:
    """The running targets."""

    pids: tuple[int, ...]
    ports: tuple[int, ...]
    http2_ports: tuple[int, ...] = ()

    def ports_of(self, row: Row) -> tuple[int, ...]:
        """As many targets as the row wants, of the kind that it speaks with."""
        return (self.http2_ports if row.link is Link.HTTP2 else self.ports)[: row.targets]


@contextlib.contextmanager
def running(nginx: str, nghttpd: str | None, folder: Path) -> Iterator[Origin]:
    """Targets that answer each with its port in `X-Target`: of HTTP/1, and of HTTP/2 when there is an `nghttpd`."""
    bodies = folder / "bodies"
    bodies.mkdir(parents=True)
    for body in (*BODIES, CACHED):
        (bodies / body).write_bytes(body_bytes(body))
    process, ports = _start(nginx, folder)
    with process, _http2(nghttpd, folder / "http2") as (pids, http2_ports):
        yield Origin((process.pid, *pids), tuple(ports), http2_ports)


@contextlib.contextmanager
def _http2(nghttpd: str | None, folder: Path) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Services of gRPC as far as a balancer can see: process ids and ports."""
    if nghttpd is None:
        yield (), ()
        return
    reply = folder / CALL_PATH.removeprefix("/")
    reply.parent.mkdir(parents=True)
    reply.write_bytes(body_bytes(CALL))
    with contextlib.ExitStack() as stack:
        ports = free_ports(MAX_HTTP2_TARGETS)
        pids = []
        for port in ports:
            # It gives no field of our choice but in the trailers, so that is where X-Target stands here.
            trailers = ["--trailer=grpc-status: 0", f"--trailer=x-target: {port}"]
            options = ["--no-tls", "--address=127.0.0.1", f"--htdocs={folder}", "--max-concurrent-streams=256"]
            process = Process("origin", [nghttpd, *options, *trailers, str(port)], folder)
            stack.enter_context(process).wait_listening(port)
            pids.append(process.pid)
        yield tuple(pids), tuple(ports)


def nginx_user() -> str:
    """Started as root, nginx would give its workers to an account that may not read the run's folder."""
    return "user root;" if os.geteuid() == 0 else ""


def _start(nginx: str, folder: Path) -> tuple[Process, list[int]]:
    """The ports are free when chosen, not reserved: another process may take one first, so there are several tries."""
    for attempt in range(START_ATTEMPTS):
        ports = free_ports(MAX_TARGETS)
        conf = render(
            "origin.conf",
            folder=str(folder),
            user=nginx_user(),
            listens="\n".join(f"        listen 127.0.0.1:{port} backlog=4096;" for port in ports),
            small=body_bytes("100B").decode().replace("\n", "\\n"),
        )
        (folder / "origin.conf").write_text(conf, encoding="utf-8")
        process = Process("origin", [nginx, "-p", str(folder), "-c", str(folder / "origin.conf")], folder)
        try:
            process.wait_listening(ports[-1])
        except ProcessFailed:
            process.stop()
            if attempt == START_ATTEMPTS - 1:
                raise
        else:
            return process, ports
    raise AssertionError("the loop returns or raises")
