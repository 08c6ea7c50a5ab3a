"""Clients and targets of either protocol in a dialogue, with the same words for both.

Owns: a message as it was sent and as it arrived, whichever protocol carried it: start, fields, body, trailers.
Refuses to know: what any one dialogue shows; how HTTP/1 is framed (`h11` does) and HTTP/2 (`http2_peer`).
"""

from dataclasses import dataclass, field

import h11

from tests.support.dialogue import Dialogue
from tests.support.http2_peer import Data, Field, Fields, Headers, Http2Peer, Reset, http2_client, http2_target
from tests.support.transport import Peer

# What the balancer adds to a request, and to an answer.
ADDED = frozenset((b"x-forwarded-for", b"x-forwarded-proto", b"via", b"x-forwarded-host", b"x-request-id"))
FRAMING = frozenset((b"host", b"transfer-encoding", b"content-length", b"connection"))


@dataclass
class Arrived:
    """What has arrived of a request or of an answer."""

    method: bytes = b""
    path: bytes = b""
    host: bytes = b""
    status: int = 0
    interims: list[int] = field(default_factory=list)
    fields: list[Field] = field(default_factory=list)
    length: int | None = None
    body: bytes = b""
    trailers: list[Field] = field(default_factory=list)
    whole: bool = False
    broken: bool = False

    def head(self, pairs: Fields) -> None:
        """The fields of the head, without those that frame it and those that the balancer adds."""
        given = dict(pairs)
        self.host = given.get(b":authority", given.get(b"host", b""))
        self.length = int(given[b"content-length"]) if b"content-length" in given else None
        self.fields = [pair for pair in pairs if pair[0] not in FRAMING | ADDED and pair[0][:1] != b":"]


class Http1End:
    """What both ends of HTTP/1 have in common."""

    def __init__(self, peer: Peer, role: type) -> None:
        self.peer = peer
        self.codec = h11.Connection(role)
        self.arrived = Arrived()

    def says(self, event: h11.Event) -> None:
        data = self.codec.send(event)
        assert data is not None
        if data:
            self.peer.says(bytes(data))

    def sends(self, data: bytes) -> None:
        """A piece of the body."""
        self.says(h11.Data(data=data))

    def ends(self, *trailers: Field) -> None:
        """The end of the message."""
        self.says(h11.EndOfMessage(headers=list(trailers)))

    def gives_up(self) -> None:
        """Breaks off."""
        self.peer.resets()

    def hears(self) -> Arrived:
        """What has arrived so far."""
        data = self.peer.hears()
        if data:
            self.codec.receive_data(data)
        while (event := self.codec.next_event()) is not h11.NEED_DATA and event is not h11.PAUSED:
            self._take(event)
        self.arrived.broken = self.peer.transport.aborted or (self.peer.transport.lost and not self.arrived.whole)
        return self.arrived

    def _take(self, event: object) -> None:
        arrived = self.arrived
        if isinstance(event, h11.Request):
            arrived.method, arrived.path = event.method, event.target
            arrived.head(list(event.headers))
        elif isinstance(event, h11.InformationalResponse):
            arrived.interims.append(event.status_code)
        elif isinstance(event, h11.Response):
            arrived.status = event.status_code
            arrived.head(list(event.headers))
        elif isinstance(event, h11.Data):
            arrived.body += bytes(event.data)
        elif isinstance(event, h11.EndOfMessage):
            arrived.trailers = list(event.headers)
            arrived.whole = True


def framing(length: int | None) -> list[Field]:
    if length is None:
        return [(b"transfer-encoding", b"chunked")]
    return [(b"content-length", b"%d" % length)]


class Http1Client(Http1End):
    """A client of HTTP/1.1."""

    def __init__(self, dialogue: Dialogue) -> None:
        super().__init__(dialogue.client(), h11.CLIENT)

    def asks(self, method: bytes, path: bytes = b"/", *fields: Field, length: int | None = None) -> None:
        """The head of a request with a body, which has no length when none is given."""
        self.says(h11.Request(method=method, target=path, headers=[(b"host", b"x"), *fields, *framing(length)]))

    def asks_all(self, method: bytes, path: bytes = b"/", *fields: Field) -> None:
        """A request without a body."""
        self.says(h11.Request(method=method, target=path, headers=[(b"host", b"x"), *fields]))
        self.ends()


class Http1Target(Http1End):
    """A target of HTTP/1.1, which has accepted."""

    def __init__(self, dialogue: Dialogue, name: str | None = None) -> None:
        super().__init__(dialogue.accept(name), h11.SERVER)
        self.hears()

    def interim(self, status: int, *fields: Field) -> None:
        """An interim answer."""
        self.says(h11.InformationalResponse(status_code=status, headers=list(fields)))

    def answers(self, status: int = 200, *fields: Field, length: int | None = None, bodiless: bool = False) -> None:
        """The head of an answer; that of one without a body ends it."""
        self.hears()
        headers = list(fields) if bodiless and length is None else [*fields, *framing(length)]
        self.says(h11.Response(status_code=status, headers=headers, reason=b"-"))
        if bodiless:
            self.ends()


class Http2End:
    """What both ends of HTTP/2 have in common."""

    def __init__(self, peer: Http2Peer) -> None:
        self.peer = peer
        self.stream = 1
        self.arrived = Arrived()

    def sends(self, data: bytes) -> None:
        """A piece of the body."""
        self.peer.data(self.stream, data)

    def ends(self, *trailers: Field) -> None:
        """The end of the message."""
        if trailers:
            self.peer.head(self.stream, trailers, end=True)
        else:
            self.peer.ends(self.stream)

    def gives_up(self) -> None:
        """Breaks off."""
        self.peer.resets(self.stream, 8)

    def hears(self) -> Arrived:
        """What has arrived so far."""
        for frame in self.peer.hears():
            self._take(frame)
        return self.arrived

    def _take(self, frame: object) -> None:
        arrived = self.arrived
        if isinstance(frame, Headers):
            given = dict(frame.fields)
            if arrived.whole or (b":status" not in given and b":method" not in given):
                arrived.trailers = frame.fields
            elif given.get(b":status", b"200") < b"200":
                arrived.interims.append(int(given[b":status"]))
            else:
                arrived.method, arrived.path = given.get(b":method", b""), given.get(b":path", b"")
                arrived.status = int(given.get(b":status", b"0"))
                arrived.head(frame.fields)
            arrived.whole |= frame.end
        elif isinstance(frame, Data):
            arrived.body += frame.data
            arrived.whole |= frame.end
        elif isinstance(frame, Reset) and (not arrived.whole or frame.code):
            arrived.broken = True


class Http2Client(Http2End):
    """A client of HTTP/2."""

    def __init__(self, dialogue: Dialogue) -> None:
        super().__init__(http2_client(dialogue))

    def asks(self, method: bytes, path: bytes = b"/", *fields: Field, length: int | None = None) -> None:
        """The head of a request with a body, which has no length when none is given."""
        self._asks(method, path, list(fields) if length is None else [*fields, *framing(length)], end=False)

    def asks_all(self, method: bytes, path: bytes = b"/", *fields: Field) -> None:
        """A request without a body."""
        self._asks(method, path, list(fields), end=True)

    def _asks(self, method: bytes, path: bytes, fields: Fields, *, end: bool) -> None:
        pseudo = [(b":method", method), (b":scheme", b"http"), (b":authority", b"x"), (b":path", path)]
        self.stream = self.peer.asks([*pseudo, *fields], end=end)


class Http2Target(Http2End):
    """A target of HTTP/2, which has accepted."""

    def __init__(self, dialogue: Dialogue, name: str | None = None) -> None:
        super().__init__(http2_target(dialogue, name))

    def interim(self, status: int, *fields: Field) -> None:
        """An interim answer."""
        self.peer.head(self.stream, [(b":status", b"%d" % status), *fields])

    def answers(self, status: int = 200, *fields: Field, length: int | None = None, bodiless: bool = False) -> None:
        """The head of an answer; that of one without a body ends it."""
        told = [] if length is None else framing(length)
        self.peer.head(self.stream, [(b":status", b"%d" % status), *fields, *told], end=bodiless)


Client = Http1Client | Http2Client
Target = Http1Target | Http2Target
