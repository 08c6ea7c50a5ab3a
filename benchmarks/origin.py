"""The targets of every run: one nginx that answers on as many ports as there are targets.

Owns: its configuration, its ports, the bodies it serves.
Refuses to know: who asks.
"""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.model import BODIES, body_bytes
from benchmarks.process import Process, ProcessFailed, free_ports
from benchmarks.render import render

MAX_TARGETS = 500
START_ATTEMPTS = 3


@dataclass(frozen=True)
class Origin:
    """The running targets."""

    pid: int
    ports: tuple[int, ...]


@contextlib.contextmanager
def running(nginx: str, folder: Path) -> Iterator[Origin]:
    """Targets on `MAX_TARGETS` ports, each answering with its port in `X-Target`."""
    bodies = folder / "bodies"
    bodies.mkdir(parents=True)
    for body in BODIES:
        (bodies / body).write_bytes(body_bytes(body))
    process, ports = _start(nginx, folder)
    with process:
        yield Origin(process.pid, tuple(ports))


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
