"""The HTTP server on a real socket, in a thread."""

import asyncio
import http.client
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import cast

import pytest

from equipoise.admin import server
from equipoise.admin.auth import Grant, make_token
from equipoise.admin.server import check, serve
from equipoise.config.schema import Config
from equipoise.runtime.startup import UnfitError
from equipoise.runtime.supervisor import Supervisor
from tests.unit.admin.parts import Board, admin_config

PATIENCE = 20


class Served:
    """The admin API of a board, on a port of its own."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.board = Board(config)
        self.token = make_token(config, Grant("admin"), create=True)
        self._sock = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._sock.getsockname()[1])
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None
        self._begun = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        async def main() -> None:
            self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
            self._begun.set()
            await serve(cast("Supervisor", self.board), self._sock)

        with suppress(asyncio.CancelledError):
            asyncio.run(main())

    def start(self) -> None:
        self._thread.start()
        assert self._begun.wait(PATIENCE)

    def stop(self) -> None:
        """Cancels it, and waits until it has ended."""
        if self._thread.is_alive():
            assert self._loop is not None
            assert self._task is not None
            self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()

    def ask(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        """One call with a token, on a connection of its own."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)) as connection:
            connection.request(method, path, body, {"Authorization": f"Bearer {self.token}"})
            response = connection.getresponse()
            return response.status, response.read()

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    served = Served(admin_config(tmp_path))
    served.start()
    yield served
    served.stop()


def everything(connection: socket.socket) -> bytes:
    """What comes until the other side closes."""
    found = b""
    while piece := connection.recv(65536):
        found += piece
    return found


def test_calls_are_served_over_http(served: Served) -> None:
    assert served.ask("GET", "/healthz") == (200, b"ok")
    status, body = served.ask("PUT", "/v1/pools/default/algorithm", b'{"algorithm": "random"}')
    assert (status, b'"version":2' in body) == (200, True)


def test_answers_name_no_software(served: Served) -> None:
    with served.connect() as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        answer = everything(connection).lower()
    assert b"\r\ndate: " in answer
    assert b"\r\nserver:" not in answer


def test_a_client_cannot_choose_its_address(served: Served) -> None:
    with served.connect() as connection:
        head = "Host: localhost\r\nX-Forwarded-For: 10.9.8.7\r\nForwarded: for=10.9.8.7\r\nConnection: close"
        token = f"Authorization: Bearer {served.token}"
        connection.sendall(f"POST /v1/reload HTTP/1.1\r\n{head}\r\n{token}\r\n\r\n".encode())
        assert b" 200 " in everything(connection)
    (call,) = [line for line in served.board.log.lines if line["event"] == "admin call"]
    assert call["client"] == "127.0.0.1"


def test_what_is_no_http_is_answered_400(served: Served) -> None:
    with served.connect() as connection:
        connection.sendall(b"\x16\x03\x01 hello\r\n\r\n")
        assert b"400 Bad Request" in everything(connection)


def test_a_head_without_end_is_answered_400(served: Served) -> None:
    with served.connect() as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * (server.LARGEST_HEAD + 1))
        assert b"400 Bad Request" in everything(connection)


@pytest.mark.parametrize("before", [0, 1])
def test_a_head_that_does_not_come_is_given_up(served: Served, monkeypatch: pytest.MonkeyPatch, before: int) -> None:
    monkeypatch.setattr(server, "HEAD_TIMEOUT", 0.05)
    with served.connect() as connection:
        for _ in range(before):
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert b"200 OK" in connection.recv(65536)
        connection.sendall(b"GET /healthz HTT")
        assert b"200 OK" not in everything(connection)


def test_a_connection_is_kept_between_calls(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "HEAD_TIMEOUT", 0.05)
    with closing(http.client.HTTPConnection("127.0.0.1", served.port, timeout=PATIENCE)) as connection:
        socks = []
        for _ in range(3):
            connection.request("GET", "/healthz")
            assert connection.getresponse().read() == b"ok"
            socks.append(connection.sock)
            threading.Event().wait(0.1)
    assert len(set(socks)) == 1


def test_too_many_connections_are_answered_503(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    served.stop()
    monkeypatch.setattr(server, "CONNECTIONS", 3)
    crowded = Served(served.config)
    crowded.start()
    try:
        crowded.ask("GET", "/healthz")
        idle = [crowded.connect() for _ in range(3)]
        assert crowded.ask("GET", "/healthz")[0] == 503
        for connection in idle:
            connection.close()
    finally:
        crowded.stop()


def follow(served: Served) -> socket.socket:
    """A connection on which the events are followed."""
    connection = served.connect()
    connection.sendall(
        f"GET /v1/events HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {served.token}\r\n\r\n".encode()
    )
    seen = b""
    while b"event: status" not in seen:
        seen += connection.recv(65536)
    return connection


def test_a_stop_ends_streams_in_order_and_closes_the_port(served: Served) -> None:
    with follow(served) as stream:
        served.stop()
        assert everything(stream).endswith(b"0\r\n\r\n")
    with pytest.raises(ConnectionRefusedError):
        served.connect()


def test_a_stop_does_not_wait_for_idle_connections(served: Served) -> None:
    with served.connect() as idle:
        served.ask("GET", "/healthz")
        served.stop()
        assert everything(idle) == b""


def test_signals_stay_with_the_process(served: Served) -> None:
    before = signal.getsignal(signal.SIGTERM)
    served.ask("GET", "/healthz")
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_balancer_that_could_check_no_token_is_unfit(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("short")
    with pytest.raises(UnfitError, match=r"the admin API has no key: the secret in .* has 5 bytes"):
        check(admin_config(tmp_path, f'[admin.jwt]\nsecret_file = "{tmp_path / "secret"}"'))


def test_a_balancer_without_a_secret_gets_one(tmp_path: Path) -> None:
    check(admin_config(tmp_path))
    assert (tmp_path / "state" / "jwt-secret").exists()
