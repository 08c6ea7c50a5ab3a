"""A line that was joined from pieces says the same as the record that any other sink gets."""

import json
from typing import Any

import msgspec
import pytest

from equipoise.proxy.access_log import JsonLog
from equipoise.proxy.services import LogPort
from tests.support.dialogue import OK, Dialogue

# What differs between two requests that are alike.
OWN = ("time", "request_id", "target")


class KeptLines(JsonLog):
    """A JSON log whose lines a test reads."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []

    def put(self, lines: list[bytes]) -> None:
        self.lines.extend(lines)


def line_and_record(dialogue: Dialogue, request: bytes, answer: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    """The line of a request, and the record of another that is alike."""
    sink = KeptLines()
    kept = dialogue.services.log
    client = dialogue.client()
    for port in (LogPort(sink, 16, ()), kept):
        dialogue.services.log = port
        client.says(request)
        dialogue.clock.advance(0.0215)
        upstream = dialogue.accept()
        dialogue.clock.advance(1.0025)
        upstream.says(answer)
        if port is not None:
            port.flush()
    assert len(sink.lines) == 1
    assert sink.lines[0].endswith(b"}\n")
    line: dict[str, Any] = json.loads(sink.lines[0])
    return line, msgspec.to_builtins(dialogue.record)


@pytest.mark.parametrize(
    ("request_bytes", "answer"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", OK),
        (b"GET /a?b=c&d=%20 HTTP/1.1\r\nHost: x.example:8080\r\n\r\n", OK),
        (b'GET /a"b\\c HTTP/1.1\r\nHost: x\r\n\r\n', OK),
        (b"HEAD / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", b"HTTP/1.1 204 No Content\r\n\r\n"),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"HTTP/1.1 404 Not Found\r\nContent-Length: 2000\r\n\r\n" + b"x" * 2000),
        (b'GET / HTTP/1.1\r\nHost: x\r\nX-Request-Id: mine"s\r\n\r\n', OK),
        (b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", OK),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello", OK),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n"),
    ],
)
def test_the_line_says_what_the_record_says(dialogue: Dialogue, request_bytes: bytes, answer: bytes) -> None:
    line, record = line_and_record(dialogue, request_bytes, answer)
    assert list(line) == list(record)
    assert {key: line[key] for key in line if key not in OWN} == {key: record[key] for key in record if key not in OWN}


def test_the_line_has_its_own_time_id_and_target(dialogue: Dialogue) -> None:
    line, record = line_and_record(dialogue, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", OK)
    assert (line["target"], record["target"]) == ("a", "b")
    assert (line["request_id"], record["request_id"]) == ("0000000000000000", "0000000000000001")
    assert len(line["time"]) == len(record["time"]) == len("2026-01-01T00:00:00.000Z")
    assert line["time"] < record["time"]
