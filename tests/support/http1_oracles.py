"""HTTP/1 as two other implementations read it, llhttp (through `httptools`) and `h11`, and where we differ on purpose.

Owns: three readings of the same bytes, and what may differ between them.
Refuses to know: where the bytes come from: property tests and the fuzzer ask the same question.
"""

import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import h11
import httptools

from equipoise.errors import ProxyError
from equipoise.wire.chunked import ChunkedReader
from equipoise.wire.http1 import RequestHead, ResponseHead
from tests.support.wire import FIELDS, HEAD_BYTES, Head, new_request, new_response


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
        # How it says that behind a 101 there is no HTTP, when the head does not name the protocol.
        if str(error) == "Pause on CONNECT/Upgrade":
            reading.complete = 1
        else:
            reading.refused = str(error)
    if reading.line:
        status = b"" if new is new_request else b"%d" % parser.get_status_code()
        reading.line = (parser.get_method(), events.target) if new is new_request else (status,)
        if status[:1] == b"1":
            # It waits for the body of an interim answer that it does not know; none has one (RFC 9110 15.2).
            reading.complete, reading.body = 1, b""
        if new is new_response and not reading.chunked and reading.length < 0 and status[:1] != b"1":
            reading.complete = reading.complete or 1  # until the connection closes, which httptools cannot be told
    return without_framing(reading)


def h11_reads(new: Callable[[], Head], data: bytes) -> Reading:
    reading = Reading()
    connection = h11.Connection(h11.SERVER if new is new_request else h11.CLIENT, HEAD_BYTES)
    if new is new_response:
        # It asks for a switch of protocols, so that a 101 is an answer to it.
        fields = [("Host", "a"), ("Connection", "Upgrade"), ("Upgrade", "x")]
        connection.send(h11.Request(method="GET", target="/", headers=fields))
        connection.send(h11.EndOfMessage())
    try:
        connection.receive_data(data)
        read_events(reading, connection)
    except h11.RemoteProtocolError as error:
        reading.refused = str(error)
    if new is new_response and not reading.refused and not reading.complete:
        # The body may be one that ends with the connection; when it is not, it was cut off, which is no refusal.
        with suppress(h11.RemoteProtocolError):
            connection.receive_data(b"")
            read_events(reading, connection)
    return without_framing(reading)


def read_events(reading: Reading, connection: h11.Connection) -> None:
    while True:
        event = connection.next_event()
        if isinstance(event, h11.Data):
            reading.body += bytes(event.data)
        elif isinstance(event, h11.Request | h11.Response | h11.InformationalResponse):
            if isinstance(event, h11.Request):
                reading.line = event.method, event.target
            else:
                reading.line = (b"%d" % event.status_code,)
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

# -- where we differ on purpose ----------------------------------------------------------------------------------------


def without_framing(reading: Reading) -> Reading:
    """A 1xx or a 204 has no body, whatever it says of one; we forget what it says, and so does this."""
    if len(reading.line) == 1 and (reading.line[0][:1] == b"1" or reading.line[0] == b"204"):
        reading.chunked, reading.length = False, -1
    return reading


@dataclass(frozen=True)
class Stricter:
    """Something that both accept and we refuse: in these words, when the bytes look like this, for this reason."""

    new: Callable[[], Head]
    detail: str
    pattern: bytes
    example: bytes
    reason: str


HOST = b"\r\nHost: a\r\n"
CHUNKED = HOST + b"Transfer-Encoding: chunked\r\n\r\n"
STRICTER = [
    Stricter(
        new_request,
        "invalid request target",
        rb"[^\r]*#|[^ ]* (?!/|https?://)",
        b"GET /#a HTTP/1.1" + HOST + b"\r\n",
        "a fragment is no part of a target (RFC 9112 3.2), and a cache or a router that cuts it off sees another one; "
        "`*` belongs to OPTIONS; we carry no scheme but http and https",
    ),
    Stricter(
        new_request,
        "version other than HTTP/1.0 and HTTP/1.1",
        rb"[^\r]* HTTP/(0\.9|2\.0)\r",
        b"GET / HTTP/2.0" + HOST + b"\r\n",
        "HTTP/0.9 and HTTP/2 have no such messages",
    ),
    Stricter(
        new_request,
        "CONNECT is not served here",
        rb"(\r\n)?CONNECT ",
        b"CONNECT a:443 HTTP/1.1" + HOST + b"\r\n",
        "a target would answer it with a tunnel",
    ),
    Stricter(
        new_request,
        "invalid Host",
        rb"(?is).*\r\nHost:(?![ \t]*([a-z0-9._~!$&'()*+,;=%-]+|\[[a-z0-9._~!$&'()*+,;=%:-]+\])(:[0-9]{0,5})?[ \t]*\r)",
        b"GET / HTTP/1.1\r\nHost: u@a/b\r\n\r\n",
        "neither looks into it; what is no host and port is routed by one and read as something else by the next",
    ),
    Stricter(
        new_request,
        "invalid authority in the request target",
        rb"(?i)[^ ]* https?://([^ /]*[^ /a-z0-9]|[ /?])",
        b"GET http://u@a/ HTTP/1.1" + HOST + b"\r\n",
        "user information in an http URI is refused (RFC 9110 4.2.4)",
    ),
    Stricter(
        new_request,
        "Host is not the authority of the request target",
        rb"(?i)[^ ]* https?://",
        b"GET http://b/ HTTP/1.1" + HOST + b"\r\n",
        "one of the two decides the route here and the other one may there",
    ),
    Stricter(
        new_request,
        "Transfer-Encoding in HTTP/1.0",
        rb"[^\r]* HTTP/1\.0\r\n",
        b"POST / HTTP/1.0" + CHUNKED + b"0\r\n\r\n",
        "HTTP/1.0 does not know it: faulty framing (RFC 9112 6.1)",
    ),
    Stricter(
        new_request,
        "invalid Content-Length",
        rb"(?is).*Content-Length:[ \t]*[0-9]{19,}",
        b"POST / HTTP/1.1" + HOST + b"Content-Length: 0000000000000000005\r\n\r\nabcde",
        "more digits than any length has: some parser overflows",
    ),
    Stricter(
        new_request,
        "invalid chunk size",
        rb"(?s).*\r\n[0-9a-fA-F]{16,}(;[^\r]*)?\r\n",
        b"POST / HTTP/1.1" + CHUNKED + b"0000000000000005\r\nabcde\r\n0\r\n\r\n",
        "likewise",
    ),
    Stricter(
        new_request,
        "invalid chunk extension",
        rb"(?s).*\r\n[0-9a-fA-F]+;",
        b"POST / HTTP/1.1" + CHUNKED + b"5;a=\r\nabcde\r\n0\r\n\r\n",
        "the grammar of RFC 9112 7.1.1 without its blanks; both take some of what is outside it",
    ),
    Stricter(
        new_request,
        "framing field in the trailers",
        rb"(?is).*\r\n(Host|Expect|Transfer-Encoding|Content-Length):",
        b"POST / HTTP/1.1" + CHUNKED + b"0\r\nHost: b\r\n\r\n",
        "a receiver that merges trailers into the head would route or frame by it (RFC 9110 6.5.1)",
    ),
    Stricter(
        new_request,
        "unknown expectation",
        rb"(?is).*\r\nExpect:",
        b"GET / HTTP/1.1" + HOST + b"Expect: x\r\n\r\n",
        "417 (RFC 9110 10.1.1)",
    ),
    Stricter(
        new_request,
        "too many fields",
        rb"(?s).*(\r\n[^\r]+:[^\r]*){100}",
        b"GET / HTTP/1.1" + HOST + b"X: y\r\n" * 100 + b"\r\n",
        "a limit of ours",
    ),
    Stricter(
        new_response,
        "control byte in the reason phrase",
        rb"HTTP/1\.[01] [0-9]{3} [^\r]*[\x00-\x08\x0a-\x1f\x7f]",
        b"HTTP/1.1 200 O\x05K" + HOST + b"Content-Length: 0\r\n\r\n",
        "it is text (RFC 9112 4), and the next reader may be a terminal",
    ),
    Stricter(
        new_response,
        "invalid status line",
        rb"HTTP/(0\.9|2\.0) ",
        b"HTTP/2.0 200 OK" + HOST + b"Content-Length: 0\r\n\r\n",
        "no such messages",
    ),
    Stricter(
        new_response,
        "Transfer-Encoding in HTTP/1.0",
        rb"HTTP/1\.0 ",
        b"HTTP/1.0 200 OK" + CHUNKED + b"0\r\n\r\n",
        "as in a request; the connection to the target is out of step",
    ),
]


def stricter_reason(new: Callable[[], Head], detail: str, data: bytes) -> str:
    """Why we refuse what both accept; empty when there is no reason. Bodies are framed alike in both directions."""
    for row in STRICTER:
        shared = row.new is new or "chunk" in row.detail or "trailers" in row.detail or "Length" in row.detail
        if shared and row.detail == detail and re.match(row.pattern, data):
            return row.reason
    return ""


def translated(oracle: str, new: Callable[[], Head], data: bytes) -> bytes:
    """What we accept, without the three things that an oracle refuses or reads otherwise and the RFC allows.

    llhttp has a list of methods (RFC 9110 9.1: any token is one); h11 takes no empty line before a request (RFC 9112
    2.2); httptools takes a body for the protocol that its request asks for, which is why we pass no such wish on.
    """
    if new is new_response:
        return data
    data = data.removeprefix(b"\r\n")
    if oracle != "llhttp":
        return data
    head, end, body = data.partition(b"\r\n\r\n")
    if body:
        head = UPGRADE.sub(b"\r\nX-Upgrade:", head)
    method, space, rest = head.partition(b" ")
    if method not in KNOWN_TO_LLHTTP:
        head = b"POST" + space + rest
    return head + end + body


UPGRADE = re.compile(rb"(?i)\r\nUpgrade:")
KNOWN_TO_LLHTTP = {b"GET", b"POST", b"PUT", b"HEAD", b"OPTIONS", b"DELETE", b"PATCH", b"TRACE"}


def in_origin_form(target: bytes) -> bytes:
    """A target as it goes on."""
    if target[:1] == b"/" or target == b"*":
        return target
    rest = re.sub(rb"(?i)^https?://[^/?]*", b"", target)
    return rest if rest.startswith(b"/") else b"/" + rest


# -- the comparison ----------------------------------------------------------------------------------------------------


def compare(new: Callable[[], Head], data: bytes) -> None:
    mine = ours(new, data)
    if mine.refused:
        if all(oracle(new, data).is_one_message for oracle in ORACLES.values()):
            assert stricter_reason(new, mine.refused, data), f"no reason to refuse: {mine.refused}"
        return
    if not mine.line:
        return
    # The bytes that we took, and no more: what is behind them is another message.
    taken = data[: len(data) - len(mine.rest)]
    for name, oracle in ORACLES.items():
        theirs = oracle(new, translated(name, new, taken))
        assert not theirs.refused, f"{name} refuses: {theirs.refused}"
        if mine.complete:
            assert (theirs.complete, theirs.rest) == (1, b""), f"{name} sees no end, or a second message"
            assert theirs.message[1:] == mine.message[1:], name
            assert same_line(mine.line, theirs.line), name


def same_line(mine: tuple[bytes, ...], theirs: tuple[bytes, ...]) -> bool:
    if len(mine) == 1:
        return mine == theirs
    method = mine[0] if mine[0] in KNOWN_TO_LLHTTP else theirs[0]
    target = in_origin_form(theirs[1])
    return (method, mine[1]) == (theirs[0], b"*" if mine == (b"OPTIONS", b"*") and target == b"/" else target)
