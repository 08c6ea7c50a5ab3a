"""Targets that answer, for balancers inside a test.

Owns: a small HTTP server in a thread, and a balancer that several tests share.
Refuses to know: what is tested.
"""

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from equipoise import Balancer, Running


class Hello(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = f"hello from {self.server.server_port}".encode()  # type: ignore[attr-defined]
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="session")
def target() -> Iterator[str]:
    """The URL of something that answers."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Hello) as server:
        thread = Thread(target=server.serve_forever, name="Dummy-target", daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def shared(target: str) -> Iterator[Running]:
    """A balancer for all tests of a module that change nothing of what the others read."""
    with Balancer({"pools": {"default": {"targets": [{"url": target, "name": "a"}]}}}) as balancer:
        yield balancer
