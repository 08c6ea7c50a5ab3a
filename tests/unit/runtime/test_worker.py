"""One worker process, with the test in the supervisor's place."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from equipoise.config.diff import diff
from equipoise.model import AccessLogSpec, World
from equipoise.runtime.cache_memory import CacheMemory
from equipoise.runtime.control import (
    TO_SUPERVISOR,
    Ack,
    Apply,
    Bootstrap,
    Cut,
    Drain,
    Event,
    Frames,
    Inherited,
    ReopenLogs,
    Report,
    ToSupervisor,
    ToWorker,
    frame,
)
from equipoise.runtime.listen import open_listener
from equipoise.runtime.startup import make_memory
from equipoise.runtime.worker import MOST_REPORTS
from tests.unit.runtime.parts import answer_of, free_port, get, port_of, tiny_target, world_of

WAIT = 30


class Supervisor:
    """The other end of the worker's channel, and what it inherits."""

    def __init__(self) -> None:
        self.memory = make_memory(1)
        self.caches = CacheMemory(1)
        self.listener = open_listener("127.0.0.1:0", 1)
        self.port = port_of(self.listener.address)
        self.sock, theirs = socket.socketpair()
        self.sock.settimeout(WAIT)
        self._frames = Frames(TO_SUPERVISOR)
        self._received: list[ToSupervisor] = []
        fds = (theirs.fileno(), self.memory.fd, *self.caches.files, self.listener.sockets[0].fileno())
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "equipoise.runtime.worker", str(fds[0])], pass_fds=fds, env=os.environ
            )

    def begin(self, world: World) -> None:
        inherited = (Inherited(self.listener.address, (self.listener.sockets[0].fileno(),)),)
        fds = self.memory.fd, self.caches.files
        self.send(Bootstrap(0, 1, self.memory.slots, *fds, inherited), Apply(1, diff(World(), world)))

    def send(self, *messages: ToWorker) -> None:
        self.sock.sendall(b"".join(frame(message) for message in messages))

    def receive(self) -> ToSupervisor:
        while not self._received:
            data = self.sock.recv(65536)
            assert data, "the worker hung up"
            self._received += self._frames.feed(data)
        return self._received.pop(0)

    def exit_code(self) -> int:
        return self.process.wait(WAIT)


@contextmanager
def supervised() -> Iterator[Supervisor]:
    supervisor = Supervisor()
    try:
        yield supervisor
    finally:
        supervisor.process.kill()
        supervisor.process.wait()
        supervisor.sock.close()
        supervisor.listener.close()
        supervisor.memory.close()


def test_it_acknowledges_its_first_world_when_it_accepts() -> None:
    with tiny_target() as target, supervised() as supervisor:
        supervisor.begin(world_of(target.port))
        assert supervisor.receive() == Ack(1)
        assert get(supervisor.port) == 200


def test_it_writes_its_pid_into_the_ledger() -> None:
    with supervised() as supervisor:
        supervisor.begin(world_of())
        supervisor.receive()
        assert supervisor.memory.ledger.worker(0)["pid"] == supervisor.process.pid


def test_it_leaves_when_it_is_told_to_drain() -> None:
    with supervised() as supervisor:
        supervisor.begin(world_of())
        supervisor.send(Drain(5.0))
        assert supervisor.exit_code() == 0


def test_it_leaves_when_its_supervisor_is_gone() -> None:
    with supervised() as supervisor:
        supervisor.begin(world_of())
        assert supervisor.receive() == Ack(1)
        supervisor.sock.close()
        assert supervisor.exit_code() == 0


def test_it_finishes_what_it_carries_when_its_supervisor_is_gone() -> None:
    with socket.create_server(("127.0.0.1", 0)) as slow, supervised() as supervisor:
        supervisor.begin(world_of(slow.getsockname()[1]))
        supervisor.receive()
        with socket.create_connection(("127.0.0.1", supervisor.port), timeout=WAIT) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
            with answer_of(slow) as connection:
                supervisor.sock.close()
                connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")
                assert client.recv(65536).startswith(b"HTTP/1.1 204")
        assert supervisor.exit_code() == 0


def test_it_leaves_when_its_supervisor_dies_before_the_bootstrap() -> None:
    with supervised() as supervisor:
        supervisor.sock.close()
        assert supervisor.exit_code() == 0


def test_a_connection_that_waited_before_the_drain_is_served() -> None:
    with tiny_target() as target, supervised() as supervisor:
        with socket.create_connection(("127.0.0.1", supervisor.port), timeout=WAIT) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
            supervisor.begin(world_of(target.port))
            supervisor.send(Drain(5.0))
            assert client.recv(65536).startswith(b"HTTP/1.1 200")
        assert supervisor.exit_code() == 0


def test_it_cuts_what_is_in_flight_at_a_target_and_nothing_else() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, tiny_target() as target, supervised() as supervisor:
        supervisor.begin(world_of(silent.getsockname()[1]))
        assert supervisor.receive() == Ack(1)
        with socket.create_connection(("127.0.0.1", supervisor.port), timeout=WAIT) as client:
            client.sendall(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: 1\r\n\r\nx")
            with answer_of(silent):
                supervisor.send(Cut(2))
                supervisor.send(Apply(2, diff(world_of(silent.getsockname()[1]), world_of(target.port))))
                assert supervisor.receive() == Ack(2)
                assert supervisor.memory.ledger.in_flight(1) == 1
                supervisor.send(Cut(1))
                assert client.recv(65536).startswith(b"HTTP/1.1 502")
        until(lambda: supervisor.memory.ledger.in_flight(1) == 0)


def test_it_opens_its_log_anew(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    with tiny_target() as target, supervised() as supervisor:
        world = world_of(target.port)
        supervisor.begin(World(world.pools, world.routes, world.limits, logging_to(str(path))))
        supervisor.receive()
        get(supervisor.port)
        until(lambda: lines_in(path) == 1)
        moved = path.rename(path.with_suffix(".1"))
        supervisor.send(ReopenLogs(), Apply(2, []))
        assert supervisor.receive() == Ack(2)
        get(supervisor.port)
        supervisor.send(Drain(5.0))
        assert supervisor.exit_code() == 0
    assert (lines_in(moved), lines_in(path)) == (1, 1)


def test_a_flood_of_failures_is_reported_in_part_only() -> None:
    with supervised() as supervisor:
        supervisor.begin(world_of(free_port()))
        assert supervisor.receive() == Ack(1)
        for _ in range(3 * MOST_REPORTS):
            get(supervisor.port)
        supervisor.send(Apply(2, []))
        reports = 0
        while (message := supervisor.receive()) != Ack(2):
            assert isinstance(message, Report)
            reports += 1
        assert reports > 0


def test_what_breaks_in_the_loop_reaches_the_supervisors_log() -> None:
    with supervised() as supervisor:
        supervisor.begin(World(access_log=logging_to("/no-such-folder/access.log")))
        event = supervisor.receive()
        assert isinstance(event, Event)
        assert (event.level, event.event) == ("error", "a change cannot be applied")
        ack = supervisor.receive()
        assert isinstance(ack, Ack)
        assert "no-such-folder" in ack.problem
        assert supervisor.exit_code() == 1


def lines_in(path: Path) -> int:
    return path.read_text().count("\n")


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def logging_to(path: str) -> AccessLogSpec:
    return AccessLogSpec(path=path)
