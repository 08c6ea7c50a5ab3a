"""A worker's whole data path, in memory, between a hostile peer and a well-behaved one.

Owns: what must hold of both sides, whatever a client or a target says: the other side hears valid messages, none that
nobody sent, and nothing is left afterwards. What breaks inside is heard as an exception.
Refuses to know: where the bytes come from.
"""

from typing import Final

import h11

from equipoise.wire.http2_errors import Http2Error
from tests.support.dialogue import CLIENT, GET, Dialogue, only
from tests.support.http2_peer import Http2Peer, http2_client, only2
from tests.support.transport import Peer
from tests.support.wire import dialogue, new_request

MARK: Final = b"not yours"
ROUNDS: Final = 40
FRAMES: Final = 64 * 1024


class Origin:
    """Targets that answer every request that is whole, and read none that a strict reader would not."""

    def __init__(self, talk: Dialogue) -> None:
        self.talk = talk
        self.connections: list[tuple[Peer, h11.Connection]] = []
        self.requests: list[tuple[bytes, bytes]] = []
        self.heads = 0

    def serve(self) -> None:
        """Accepts and answers until nobody wants anything more."""
        for _ in range(ROUNDS):
            while self.talk.loop.dials:
                self.connections.append((self.talk.accept(), h11.Connection(h11.SERVER, 64 * 1024)))
            # Each of them is asked: an answer may bring the next request elsewhere.
            answered = [self._serve_one(peer, codec) for peer, codec in self.connections]
            if True not in answered:
                return

    def _serve_one(self, peer: Peer, codec: h11.Connection) -> bool:
        data = peer.hears()
        if data:
            codec.receive_data(data)
        answered = False
        while codec.their_state not in (h11.MUST_CLOSE, h11.CLOSED, h11.SWITCHED_PROTOCOL):
            event = codec.next_event()
            if event in (h11.NEED_DATA, h11.PAUSED):
                return answered
            if isinstance(event, h11.Request):
                self.heads += 1
                self.requests.append((event.method, event.target))
            if isinstance(event, h11.EndOfMessage):
                self._answer(peer, codec)
                answered = True
        return answered

    def _answer(self, peer: Peer, codec: h11.Connection) -> None:
        out = codec.send(h11.Response(status_code=200, headers=[("Content-Length", "2")]))
        out = (out or b"") + (codec.send(h11.Data(data=b"" if self.requests[-1][0] == b"HEAD" else b"ok")) or b"")
        out += codec.send(h11.EndOfMessage()) or b""
        if codec.our_state is h11.DONE and codec.their_state is h11.DONE:
            codec.start_next_cycle()
        if not peer.transport.lost:
            peer.says(out)


def check_client_http1(data: bytes) -> None:
    """A client of HTTP/1 says this: targets hear the requests that it made, and no others."""
    # The reading that the other checks compare with two libraries; here it says what may arrive.
    wanted = [(message.head["method"], message.head["target"]) for message in dialogue(new_request, [data]).messages]
    talk = Dialogue(only())
    origin = Origin(talk)
    client = talk.client()
    client.says(data)
    origin.serve()
    answers = client.hears()
    if not client.transport.lost:
        client.ends()
    origin.serve()
    _let_go(client)
    talk.close()
    if not any(data.startswith(each) for each in (b"PRI * HTTP/2", b"P")):
        assert origin.requests == wanted[: len(origin.requests)], "requests that nobody made"
    assert answers[:9] in {b"HTTP/1.1 ", b""} or data.startswith(b"PRI")


def check_target_http1(data: bytes) -> None:
    """A target of HTTP/1 answers this: its client hears one answer or a broken one, and the next client its own."""
    talk = Dialogue(only())
    client = talk.client()
    client.says(GET)
    upstream = talk.accept()
    upstream.says(data)
    codec = h11.Connection(h11.CLIENT, 64 * 1024)
    codec.send(h11.Request(method="GET", target="/", headers=[("Host", "x")]))
    codec.send(h11.EndOfMessage())
    heard = client.hears()
    if not upstream.transport.lost:
        upstream.ends()
    if talk.loop.dials:  # it is tried again: the second one answers
        again = talk.accept()
        again.says(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    codec.receive_data(heard + client.hears())
    finished = _read_answer(codec)
    broken = client.transport.closing or client.transport.lost
    assert finished or broken, "neither an answer nor an end"
    assert not codec.trailing_data[0], "more than one answer"
    _next_client(talk)
    _let_go(client)
    talk.close()


def _read_answer(codec: h11.Connection) -> bool:
    """Whether the final answer is whole; fails when it is none that a strict client takes."""
    while True:
        event = codec.next_event()
        if isinstance(event, h11.EndOfMessage):
            return True
        if event in (h11.NEED_DATA, h11.PAUSED):
            return False


def _next_client(talk: Dialogue) -> None:
    """Whatever became of the first answer, the next client gets its own."""
    second = talk.client()
    second.says(GET)
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(MARK), MARK)
    for _ in range(3):
        if talk.loop.dials:
            talk.accept().says(answer)
        else:
            for peer in talk.peers:
                is_target = peer.transport.peername[0] != CLIENT and not peer.transport.lost
                if is_target and GET[:5] in peer.hears():
                    peer.says(answer)
    heard = second.hears()
    assert heard.endswith(MARK) or heard[9:12] in {b"502", b"503"}, heard
    _let_go(second)


def check_client_http2(data: bytes) -> None:
    """A client of HTTP/2 says this behind its preface: targets hear valid requests, and it hears valid frames."""
    talk = Dialogue(only())
    origin = Origin(talk)
    client = http2_client(talk)
    client.room = FRAMES
    client.says(data)
    origin.serve()
    _hears_frames(client)
    if not client.peer.transport.lost:
        client.peer.ends()
    origin.serve()
    _let_go(client.peer)
    talk.close()


def check_target_http2(data: bytes) -> None:
    """A target of HTTP/2 says this: its client hears one answer of HTTP/1, or a broken one."""
    talk = Dialogue(only2())
    client = talk.client()
    client.says(GET)
    upstream = Http2Peer(talk.accept(), is_client=False)
    upstream.greets()
    upstream.says(data)
    codec = h11.Connection(h11.CLIENT, 64 * 1024)
    codec.send(h11.Request(method="GET", target="/", headers=[("Host", "x")]))
    codec.send(h11.EndOfMessage())
    if not upstream.peer.transport.lost:
        upstream.peer.ends()
    for _ in range(3):
        while talk.loop.dials:
            again = Http2Peer(talk.accept(), is_client=False)
            again.greets()
            if not again.peer.transport.lost:
                again.peer.resets()
    codec.receive_data(client.hears())
    finished = _read_answer(codec)
    assert finished or client.transport.closing or client.transport.lost, "neither an answer nor an end"
    assert not codec.trailing_data[0], "more than one answer"
    _let_go(client)
    talk.close()


def _hears_frames(client: Http2Peer) -> None:
    try:
        client.hears_all()
    except Http2Error as error:
        raise AssertionError(f"we said what is no HTTP/2: {error!r}") from error


def _let_go(peer: Peer) -> None:
    if not peer.transport.lost:
        peer.resets()
