"""What the scenarios of HTTP/2 share.

Owns: the fixtures, and the end of clients that a test left open.
Refuses to know: any scenario.
"""

from collections.abc import Callable, Iterator

import pytest

from tests.scenarios.support.http2_client import Http2Client
from tests.scenarios.support.http2_target import Http2Script, Http2Target, http2_target
from tests.scenarios.support.pairs import Line, line_to
from tests.scenarios.support.stage import Stage


@pytest.fixture(autouse=True)
def leaves_no_http2_client() -> Iterator[None]:
    """Closes what a test left open."""
    yield
    for client in list(Http2Client.all_open):
        client.close()


@pytest.fixture
def h2_target(stage: Stage) -> Callable[..., Http2Target]:
    """Makes targets that speak HTTP/2."""

    def make(script: Http2Script, **settings: int) -> Http2Target:
        return http2_target(stage, script, {_SETTINGS[name]: value for name, value in settings.items()})

    return make


_SETTINGS = {"table_size": 1, "max_streams": 3, "window": 4, "max_frame": 5, "max_list": 6, "extended_connect": 8}


@pytest.fixture
def connect() -> Iterator[Callable[[int, str], Line]]:
    """Opens clients' connections that speak "h1" or "h2"; they are closed after the test."""
    lines: list[Line] = []

    def start(port: int, protocol: str) -> Line:
        lines.append(line_to(port, protocol))
        return lines[-1]

    yield start
    for line in lines:
        line.close()
