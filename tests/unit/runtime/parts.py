"""Parts that several tests of the processes need: a log that can be read, configurations, small targets."""

import io
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from equipoise.config.load import parse
from equipoise.config.schema import Config
from equipoise.model import AccessLogSpec, LimitsSpec, PoolSpec, RouteSpec, TargetSpec, World
from equipoise.runtime.app_log import AppLog


class ReadableLog(AppLog):
    """An application log whose lines a test reads."""

    def __init__(self) -> None:
        self.stream = io.StringIO()
        super().__init__(self.stream)

    @property
    def lines(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.stream.getvalue().splitlines()]

    @property
    def events(self) -> list[str]:
        return [str(line["event"]) for line in self.lines]


def config_of(text: str) -> Config:
    """A configuration with a listener and no admin API, and whatever else `text` says."""
    return parse(f'listen = "127.0.0.1:0"\n{text}\n[admin]\nenabled = false\n', {})


class TinyTarget:
    """Answers every connection with the same bytes, as often as asked, and keeps what it was sent."""

    def __init__(self, answer: bytes, sock: socket.socket) -> None:
        self.answer = answer
        self.port = int(sock.getsockname()[1])
        self.requests: list[bytes] = []
        self._sock = sock

    def serve(self) -> None:
        while True:
            try:
                connection, _ = self._sock.accept()
            except OSError:
                return
            with connection:
                try:
                    connection.settimeout(5)
                    self.requests.append(connection.recv(65536))
                    connection.sendall(self.answer)
                except OSError:
                    continue


# It closes after each answer and says so.
ANSWER = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"


@contextmanager
def tiny_target(answer: bytes = ANSWER) -> Iterator[TinyTarget]:
    """A target on a port of its own."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as sock:
        target = TinyTarget(answer, sock)
        thread = threading.Thread(target=target.serve)
        thread.start()
        try:
            yield target
        finally:
            sock.shutdown(socket.SHUT_RDWR)
            thread.join()


def free_port() -> int:
    """A port where nobody listens now."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


def world_of(*ports: int, **limits: float) -> World:
    """One pool of targets on this machine."""
    targets = tuple(
        TargetSpec(f"t{slot}", f"http://127.0.0.1:{port}", "127.0.0.1", port, slot, addresses=("127.0.0.1",))
        for slot, port in enumerate(ports, 1)
    )
    return World(
        pools=(PoolSpec("p", 0, targets=targets),),
        routes=(RouteSpec("p"),),
        limits=LimitsSpec(**limits),  # type: ignore[arg-type]  # only times are given
        access_log=AccessLogSpec(enabled=False),
    )


def get(port: int) -> int:
    """The status of one request on a connection of its own."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    return int(answer[9:12])


def port_of(address: object) -> int:
    """The port at the end of an address."""
    return int(str(address).rpartition(":")[2])


@contextmanager
def answer_of(listener: socket.socket) -> Iterator[socket.socket]:
    """The first connection that carries a request; health probes connect and leave."""
    while True:
        connection, _ = listener.accept()
        with connection:
            if connection.recv(65536):
                yield connection
                return
