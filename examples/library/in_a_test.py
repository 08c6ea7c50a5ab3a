# ruff: noqa: D103, INP001, S310  a module of tests as a user's is
"""A test with a balancer in it: `pytest in_a_test.py`."""

import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest

from equipoise import Balancer
from equipoise.library.pytest_plugin import StartBalancer


def test_a_drained_target_gets_nothing(targets: list[str], equipoise_balancer: StartBalancer) -> None:
    balancer = equipoise_balancer({"pools": {"default": {"targets": targets}}})
    drained, other = balancer.targets()
    balancer.change_target(drained["name"], state="draining")

    for _ in range(10):
        with urllib.request.urlopen(balancer.url) as answer:
            assert answer.status == 200

    assert balancer.wait_until(lambda status: served(status, other["name"]) == 10)
    assert served(balancer.status(), drained["name"]) == 0


def test_the_other_target_answers(targets: list[str]) -> None:
    with Balancer({"pools": {"default": {"targets": targets}}}) as balancer:
        balancer.change_target(balancer.targets()[0]["name"], state="draining")
        answer = urllib.request.urlopen(balancer.url)
    assert answer.status == 200


def served(status: dict[str, Any], name: str) -> int:
    """How many requests a target has answered."""
    targets = status["pools"]["default"]["targets"]
    return next(int(target["requests"]) for target in targets if target["name"] == name)


class Hello(BaseHTTPRequestHandler):
    """What stands for the service."""

    def do_GET(self) -> None:
        """Answers with a word."""
        self.send_response(200)
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"hello")


@pytest.fixture
def targets() -> Iterator[list[str]]:
    """Two instances of the service."""
    servers = [ThreadingHTTPServer(("127.0.0.1", 0), Hello) for _ in range(2)]
    threads = [Thread(target=server.serve_forever) for server in servers]
    for thread in threads:
        thread.start()
    yield [f"http://127.0.0.1:{server.server_port}" for server in servers]
    for server, thread in zip(servers, threads, strict=True):
        server.shutdown()
        thread.join()
        server.server_close()
