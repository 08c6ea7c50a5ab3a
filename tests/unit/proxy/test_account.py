"""A line that was joined from pieces says the same as the record that any other sink gets."""

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from equipoise.proxy.access_log import JsonLog
from equipoise.proxy.account import is_text
from equipoise.proxy.services import LogPort
from tests.support.dialogue import OK, Dialogue
from tests.support.http2_peer import Field, Http2Peer, ask, http2_client, http2_target, only2

# What differs between two requests that are alike.
OWN = ("time", "request_id", "target")


class KeptLines(JsonLog):
    """A JSON log whose lines a test reads."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []

    def put(self, lines: bytes, count: int) -> None:
        self.lines.extend(lines.splitlines(keepends=True))
        assert lines.count(b"\n") == count


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


# Over HTTP/2, and of gRPC


def line_and_record_2(
    fields: list[Field], request_body: bytes | None, answer: Callable[[Http2Peer, int], None]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The line of a request of HTTP/2, and the record of another that is alike."""
    dialogue = Dialogue(only2())
    sink = KeptLines()
    kept = dialogue.services.log
    client = http2_client(dialogue)
    there: Http2Peer | None = None
    for port in (LogPort(sink, 16, ()), kept):
        dialogue.services.log = port
        stream = client.asks(fields, request_body)
        dialogue.clock.advance(0.0215)
        there = there or http2_target(dialogue)
        dialogue.clock.advance(1.0025)
        answer(there, stream)
        if port is not None:
            port.flush()
    record: dict[str, Any] = msgspec.to_builtins(dialogue.record)
    dialogue.close()
    assert len(sink.lines) == 1
    line: dict[str, Any] = json.loads(sink.lines[0])
    return line, record


def with_status(status: bytes) -> Callable[[Http2Peer, int], None]:
    """A gRPC answer of one message and its status in the trailers."""

    def answer(there: Http2Peer, stream: int) -> None:
        there.head(stream, [(b":status", b"200"), (b"content-type", b"application/grpc")])
        there.data(stream, b"\0\0\0\0\1x")
        there.head(stream, [(b"grpc-status", status), (b"grpc-message", b"said so")], end=True)

    return answer


def with_status_alone(status: bytes) -> Callable[[Http2Peer, int], None]:
    """A gRPC answer that is nothing but its status."""
    return lambda there, stream: there.head(stream, [(b":status", b"200"), (b"grpc-status", status)], end=True)


def plain(there: Http2Peer, stream: int) -> None:
    there.answers(stream, b"ok")


CALL = ask(b"POST", b"/s.S/M", (b"te", b"trailers"), (b"content-type", b"application/grpc"))


@pytest.mark.parametrize(
    ("fields", "request_body", "answer"),
    [
        (ask(), None, plain),
        (ask(b"POST", b'/a"b?c=%20'), b"hello", plain),
        (ask(b"GET", b"/", (b"x-request-id", b'mine"s')), None, plain),
        (ask(b"HEAD"), None, lambda there, stream: there.answers(stream, status=b"204")),
        (CALL, b"\0\0\0\0\1x", with_status(b"0")),
        (CALL, b"\0\0\0\0\1x", with_status(b"16")),
        (CALL, b"\0\0\0\0\1x", with_status(b"17")),
        (CALL, b"\0\0\0\0\1x", with_status(b"0x")),
        (CALL, b"\xff\xfe", with_status(b"13")),
        (CALL, None, with_status_alone(b"5")),
    ],
    ids=["GET", "POST", "id", "HEAD", "OK", "16", "17", "no number", "body of no text", "status alone"],
)
def test_the_line_of_http_2_says_what_its_record_says(
    fields: list[Field], request_body: bytes | None, answer: Callable[[Http2Peer, int], None]
) -> None:
    line, record = line_and_record_2(fields, request_body, answer)
    assert record["protocol"] == "HTTP/2"
    assert sorted(line) == sorted(record)
    assert {key: line[key] for key in line if key not in OWN} == {key: record[key] for key in record if key not in OWN}


@pytest.mark.parametrize("status", [0, 5, 16])
def test_the_status_of_a_call_is_in_its_line(status: int) -> None:
    line, _ = line_and_record_2(CALL, b"\0\0\0\0\1x", with_status(b"%d" % status))
    assert line["grpc_status"] == status


def test_a_request_that_is_no_call_has_no_status_of_one() -> None:
    line, _ = line_and_record_2(ask(), None, plain)
    assert "grpc_status" not in line


def decodes(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


@given(st.binary(max_size=12) | st.text(max_size=6).map(lambda text: text.encode("utf-8", "surrogatepass")))
@example(b"\xf4\x90\x80\x80")
@example(b"\xed\xa0\x80")
@example(b"\xe0\x80\x80")
@example(b"\xc3")
def test_a_body_is_text_when_it_can_be_decoded(raw: bytes) -> None:
    assert is_text(raw) == decodes(raw)
    for cut in range(len(raw)):
        assert is_text(raw[:cut]) == decodes(raw[:cut])
