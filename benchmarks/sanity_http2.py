"""Proof that a row that speaks HTTP/2 does its job before it is measured.

Owns: a client of HTTP/2 that asks one thing after the other, and reads every frame of the answers.
Refuses to know: what the answers should be.
"""

import http.client
import socket
from dataclasses import dataclass, field

import h2.config
import h2.connection
import h2.events
import h2.exceptions

from benchmarks.model import CALL, CALL_HEADERS, REQUEST_HEADERS, body_path, call_message

TIMEOUT_S = 10.0


class Broken(http.client.HTTPException):
    """The connection or the answer broke off."""


@dataclass
class Answer:
    """One answer."""

    fields: dict[str, str] = field(default_factory=dict)
    trailers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    ended: bool = False

    @property
    def status(self) -> int:
        """Its status; 0 before it is there."""
        return int(self.fields.get(":status", "0"))


class Client:
    """One connection, in clear text, with prior knowledge."""

    def __init__(self, port: int) -> None:
        """Connect."""
        self._socket = socket.create_connection(("127.0.0.1", port), TIMEOUT_S)
        self._http2 = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self._http2.initiate_connection()

    def ask(self, body: str) -> Answer:
        """Ask for an answer with that body.

        Raises:
            Broken, OSError: there is none.
        """
        headers = CALL_HEADERS if body == CALL else REQUEST_HEADERS
        rest = [(name.lower(), value) for name, value in headers if name != "Host"]
        method, authority = "POST" if body == CALL else "GET", dict(headers).get("Host", "shop.example.com")
        pseudo = [(":method", method), (":scheme", "http"), (":authority", authority), (":path", body_path(body))]
        stream = self._http2.get_next_available_stream_id()
        self._http2.send_headers(stream, [*pseudo, *rest], end_stream=body != CALL)
        if body == CALL:
            self._http2.send_data(stream, call_message(), end_stream=True)
        answer = Answer()
        while not answer.ended:
            self._socket.sendall(self._http2.data_to_send())
            data = self._socket.recv(65536)
            if not data:
                raise Broken("the connection was closed")
            try:
                for event in self._http2.receive_data(data):
                    self._take(event, answer)
            except h2.exceptions.H2Error as error:
                raise Broken(f"not HTTP/2: {error!r}") from error
        return answer

    def _take(self, event: h2.events.Event, answer: Answer) -> None:
        if isinstance(event, h2.events.ResponseReceived):
            answer.fields = _fields(event.headers)
        elif isinstance(event, h2.events.TrailersReceived):
            answer.trailers = _fields(event.headers)
        elif isinstance(event, h2.events.DataReceived):
            answer.body += event.data
            self._http2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.StreamEnded):
            answer.ended = True
        elif isinstance(event, h2.events.StreamReset | h2.events.ConnectionTerminated):
            raise Broken(f"ended with error {event.error_code}")

    def close(self) -> None:
        """Leave."""
        self._socket.close()


def _fields(headers: object) -> dict[str, str]:
    assert isinstance(headers, list)
    return {str(name): str(value) for name, value in headers}
