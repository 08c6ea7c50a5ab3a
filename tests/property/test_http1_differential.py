"""HTTP/1 as two other implementations read it: llhttp (through `httptools`) and `h11`.

What we accept, both accept, as the same message. What either refuses, we refuse. What both accept and we refuse is on
purpose. The exceptions are the three tables below, each with its reason; nothing else may differ.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import h11
import httptools
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from equipoise.errors import ProxyError
from equipoise.wire.chunked import ChunkedReader
from equipoise.wire.http1 import RequestHead, ResponseHead
from tests.support.corpus import mutated, requests, responses, valid_chunked
from tests.support.wire import FIELDS, HEAD_BYTES, Head, new_request, new_response, read_chunks


@dataclass
class Reading:
    """What one implementation makes of some bytes."""

    refused: str = ""
    line: tuple[bytes, ...] = ()  # method and target, or status
    chunked: bool = False
    length: int = -1
    body: bytes = b""
    complete: int = 0  # messages that came to their end
    rest: bytes = b""

    @property
    def is_one_message(self) -> bool:
        return not self.refused and self.complete == 1 and not self.rest

    @property
    def message(self) -> tuple[object, ...]:
        return self.line, self.chunked, self.length, self.body

    def take_field(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"content-length":
            self.length = int(value)
        if name.lower() == b"transfer-encoding":
            self.chunked = True


# -- three readers -----------------------------------------------------------------------------------------------------


def ours(new: Callable[[], Head], data: bytes) -> Reading:
    reading = Reading()
    try:
        head = new()
        if not head.read(data):
            return reading
        reading.line = (head.method, head.target) if isinstance(head, RequestHead) else (b"%d" % head.status,)
        reading.chunked, reading.length = head.chunked, head.content_length
        read_body(reading, head, data[head.at :])
    except ProxyError as error:
        reading.refused = error.detail
    return reading


def read_body(reading: Reading, head: Head, data: bytes) -> None:
    """As the data path does it (RFC 9112 6.3)."""
    bodiless = isinstance(head, ResponseHead) and (head.status < 200 or head.status in {204, 304})
    if bodiless or (isinstance(head, RequestHead) and not head.chunked and head.content_length < 0):
        reading.complete, reading.rest = 1, data
    elif head.chunked:
        reader = ChunkedReader(HEAD_BYTES, FIELDS, decode=True)
        reading.body = reader.feed(data)
        reading.complete, reading.rest = int(reader.done), reader.rest
    elif head.content_length >= 0:
        reading.body, reading.rest = data[: head.content_length], data[head.content_length :]
        reading.complete = int(len(reading.body) == head.content_length)
    else:  # until the connection closes
        reading.body, reading.complete = data, 1


@dataclass
class Events:
    """Callbacks of httptools."""

    reading: Reading = field(default_factory=Reading)
    status: bytes = b""
    target: bytes = b""

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        # llhttp gives trailers the same way, when the framing is known.
        if not self.reading.line:
            self.reading.take_field(name, value)

    def on_headers_complete(self) -> None:
        self.reading.line = (b"",)

    def on_body(self, body: bytes) -> None:
        self.reading.body += body

    def on_message_complete(self) -> None:
        self.reading.complete += 1


def llhttp(new: Callable[[], Head], data: bytes) -> Reading:
    events = Events()
    reading = events.reading
    parser: Any = httptools.HttpRequestParser(events) if new is new_request else httptools.HttpResponseParser(events)
    try:
        parser.feed_data(data)
    except httptools.HttpParserUpgrade as upgrade:
        reading.rest = data[upgrade.args[0] :]
    except httptools.HttpParserError as error:
        reading.refused = str(error)
    if reading.line:
        status = b"" if new is new_request else b"%d" % parser.get_status_code()
        reading.line = (parser.get_method(), events.target) if new is new_request else (status,)
        if new is new_response and not reading.chunked and reading.length < 0 and status[:1] != b"1":
            reading.complete = reading.complete or 1  # until the connection closes, which httptools cannot be told
    return reading


def h11_reads(new: Callable[[], Head], data: bytes) -> Reading:
    reading = Reading()
    connection = h11.Connection(h11.SERVER if new is new_request else h11.CLIENT, HEAD_BYTES)
    if new is new_response:
        connection.send(h11.Request(method="GET", target="/", headers=[("Host", "a")]))
        connection.send(h11.EndOfMessage())
    try:
        connection.receive_data(data)
        if new is new_response:
            connection.receive_data(b"")
        read_events(reading, connection)
    except h11.RemoteProtocolError as error:
        reading.refused = str(error)
    return reading


def read_events(reading: Reading, connection: h11.Connection) -> None:
    while True:
        event = connection.next_event()
        if isinstance(event, h11.Data):
            reading.body += bytes(event.data)
        elif isinstance(event, h11.Request | h11.Response | h11.InformationalResponse):
            is_request = isinstance(event, h11.Request)
            reading.line = (event.method, event.target) if is_request else (b"%d" % event.status_code,)
            for name, value in event.headers:
                reading.take_field(name, value)
            if isinstance(event, h11.InformationalResponse):
                reading.complete, reading.rest = 1, connection.trailing_data[0]
                return
        else:
            if isinstance(event, h11.EndOfMessage):
                reading.complete, reading.rest = 1, connection.trailing_data[0]
            return


ORACLES = {"llhttp": llhttp, "h11": h11_reads}

# -- where we differ on purpose ------------------------------------------------------------------------------------------

Table: TypeAlias = list[tuple[str, str, str]]
