"""TLS over a connection in memory, against a plain client and a plain server of Python's."""

import asyncio
import gc
import ssl
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from equipoise.proxy.services import Services
from equipoise.proxy.tls_connection import HANDSHAKE_NS, PIECE, RECORD, TlsConnection
from tests.support.certificates import Authority
from tests.support.ledgers import ledgers
from tests.support.transport import Clock, ScriptedLoop, Transport

CA = Authority()


class Heard:
    """A protocol that notes what it hears, and does what it is told to."""

    def __init__(self) -> None:
        self.heard: list[object] = []
        self.transport: Any = None
        self.keeps = False
        self.on_data: Callable[[], object] = lambda: None

    @property
    def data(self) -> bytes:
        return b"".join(each for each in self.heard if isinstance(each, bytes))

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.heard.append("made")

    def data_received(self, data: bytes) -> None:
        self.heard.append(data)
        self.on_data()

    def eof_received(self) -> bool:
        self.heard.append("eof")
        return self.keeps

    def connection_lost(self, error: Exception | None) -> None:
        self.heard.append("lost" if error is None else f"lost: {error}")

    def pause_writing(self) -> None:
        self.heard.append("pause")

    def resume_writing(self) -> None:
        self.heard.append("resume")


class Other:
    """The far end: Python's own TLS, which takes what arrives and gives what is sent."""

    def __init__(self, context: ssl.SSLContext, name: str | None) -> None:
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_side=name is None, server_hostname=name)
        self.error: Exception | None = None

    def shake(self) -> None:
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            self.error = error

    def read(self) -> bytes:
        """All that can be read; None stands nowhere: what ends is noted by OpenSSL."""
        found = b""
        with suppress(ssl.SSLWantReadError):
            while piece := self.tls.read(1 << 20):
                found += piece
        return found

    def records(self, *texts: bytes) -> bytes:
        """What is on the wire for these texts."""
        for text in texts:
            self.tls.write(text)
        return self.outgoing.read()

    def goodbye(self) -> bytes:
        with suppress(ssl.SSLWantReadError):
            self.tls.unwrap()
        return self.outgoing.read()


class Line:
    """A TlsConnection, what stands on it, and who is at the other end of it."""

    def __init__(self, *, accepts: bool, ours: ssl.SSLContext, theirs: ssl.SSLContext, name: str = "a.test") -> None:
        self.clock = Clock()
        self.loop = ScriptedLoop(self.clock)
        self.memory, (ledger,) = ledgers(1)
        self.services = Services(ledger, self.clock.now, lambda *_: None)
        self.services.soon = self.loop.call_soon
        self.services.now = self.clock.ns
        self.protocol = Heard()
        self.secure = TlsConnection(self.services, self.protocol, ours, None if accepts else name)
        self.server = ours if accepts else theirs
        self.shaken = self.loop.create_future()
        self.secure.shaken = self.shaken
        self.transport = Transport(self.loop, self.secure, ("192.0.2.9", 9))
        self.other = Other(theirs, name if accepts else None)
        self.secure.connection_made(self.transport)

    def shake(self) -> "Line":
        """The whole handshake, or as much of it as there is."""
        for _ in range(4):
            self.arrives()
            if self.other.tls.version() is None or not self.shaken.done():
                self.other.shake()
            self.sends(self.other.outgoing.read())
        return self

    def sends(self, data: bytes) -> None:
        """The far end's bytes arrive."""
        if data:
            self.transport.incoming.append(data)
            self.transport.deliver()
        self.loop.settle()

    def ends(self) -> None:
        """The far end closes its TCP connection."""
        self.transport.incoming.append(None)
        self.transport.deliver()
        self.loop.settle()

    def arrives(self) -> None:
        """What was written reaches the far end."""
        self.other.incoming.write(bytes(self.transport.arrived))
        self.transport.arrived.clear()

    def hears(self) -> bytes:
        self.arrives()
        return self.other.read()


def contexts(folder: Path, newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's and a client's."""
    CA.issue("a.test").write(folder, "a")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(folder / "a.pem", folder / "a.key")
    client = ssl.create_default_context(cadata=CA.pem.decode())
    client.maximum_version = newest
    return server, client


MakeLine = Callable[..., Line]


@pytest.fixture
def make_line(tmp_path: Path) -> Iterator[MakeLine]:
    made: list[Line] = []

    def make(*, accepts: bool = True, newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3, name: str = "a.test") -> Line:
        server, client = contexts(tmp_path, newest)
        ours, theirs = (server, client) if accepts else (client, server)
        made.append(Line(accepts=accepts, ours=ours, theirs=theirs, name=name))
        return made[-1]

    yield make
    for line in made:
        line.transport.release()
        line.loop.close()


@pytest.fixture
def line(make_line: MakeLine) -> Line:
    """One whose handshake is done."""
    return make_line().shake()


@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("accepts", [True, False], ids=["server", "client"])
def test_bytes_go_both_ways_after_the_handshake(make_line: MakeLine, accepts: bool, newest: ssl.TLSVersion) -> None:
    line = make_line(accepts=accepts, newest=newest).shake()
    assert line.shaken.done()
    assert line.protocol.heard == ["made"]
    assert line.protocol.transport.get_extra_info("ssl_object").version() == line.other.tls.version()
    assert line.protocol.transport.get_extra_info("peername") == ("192.0.2.9", 9)
    line.secure.write(b"to you")
    assert line.hears() == b"to you"
    line.sends(line.other.records(b"to me"))
    assert line.protocol.heard == ["made", b"to me"]


@pytest.mark.parametrize("step", [1, 7, 1000, RECORD, 1 << 20])
def test_bytes_arrive_in_order_however_they_are_cut(line: Line, step: int) -> None:
    size = 3_000 if step < RECORD else 5 * PIECE
    text = bytes(range(256)) * (size // 256)
    wire = line.other.records(*(text[at : at + RECORD] for at in range(0, len(text), RECORD)))
    for at in range(0, len(wire), step):
        line.sends(wire[at : at + step])
    assert line.protocol.data == text
    assert max(len(each) for each in line.protocol.heard if isinstance(each, bytes)) <= PIECE + RECORD


def test_what_is_large_is_written_whole(line: Line) -> None:
    text = bytes(range(256)) * 1024
    line.secure.write(text)
    line.secure.write(b"")
    line.secure.write(b"the end")
    assert line.hears() == text + b"the end"


def test_what_follows_the_handshake_at_once_is_read(make_line: MakeLine) -> None:
    line = make_line()
    line.other.shake()
    line.sends(line.other.outgoing.read())
    line.arrives()
    line.other.shake()
    line.sends(line.other.records(b"first words"))
    assert line.protocol.heard == ["made", b"first words"]


def test_who_is_held_gets_the_rest_when_let(line: Line) -> None:
    line.protocol.on_data = line.secure.pause_reading
    line.sends(line.other.records(*[b"x" * RECORD] * 20))
    first = len(line.protocol.data)
    assert RECORD <= first <= PIECE + RECORD
    line.loop.settle()
    assert len(line.protocol.data) == first
    line.protocol.on_data = lambda: None
    line.secure.resume_reading()
    line.loop.settle()
    assert len(line.protocol.data) == 20 * RECORD


def test_who_closes_while_it_reads_hears_no_more(line: Line) -> None:
    line.protocol.on_data = line.secure.close
    line.sends(line.other.records(*[b"x" * RECORD] * 20))
    assert len(line.protocol.data) <= PIECE + RECORD
    assert line.protocol.heard[-1] == "lost"


# The end


def test_who_closes_says_goodbye_and_waits_for_none(line: Line) -> None:
    line.secure.write(b"last words")
    line.secure.close()
    assert line.secure.is_closing()
    line.loop.settle()
    assert line.protocol.heard == ["made", "lost"]
    line.arrives()
    assert line.other.tls.read(100) == b"last words"
    assert line.other.tls.read(100) == b"", "an end, and not a stop"
    line.secure.write(b"too late")


def test_the_other_sides_goodbye_is_an_end(line: Line) -> None:
    line.sends(line.other.records(b"last words") + line.other.goodbye())
    assert line.protocol.heard == ["made", b"last words", "eof", "lost"]


def test_who_keeps_its_side_open_goes_on_writing(line: Line) -> None:
    line.protocol.keeps = True
    line.sends(line.other.goodbye())
    line.ends()
    assert line.protocol.heard == ["made", "eof"]
    line.secure.write(b"still here")
    line.arrives()
    assert not line.secure.is_closing()
    line.secure.close()
    line.loop.settle()
    assert line.protocol.heard == ["made", "eof", "lost"]


def test_an_end_without_goodbye_may_be_anybodys(line: Line) -> None:
    line.sends(line.other.records(b"half of it"))
    line.ends()
    assert line.protocol.heard == ["made", b"half of it", "eof", "lost: closed without TLS's goodbye"]


def test_a_record_that_was_changed_ends_the_connection(line: Line) -> None:
    wire = bytearray(line.other.records(b"pay a"))
    wire[-1] ^= 1
    line.sends(bytes(wire))
    assert line.protocol.heard == ["made", "lost"]
    assert line.transport.aborted


def test_an_abort_is_one(line: Line) -> None:
    line.secure.abort()
    line.secure.write(b"too late")
    line.loop.settle()
    assert (line.protocol.heard, line.transport.aborted) == (["made", "lost"], True)


def test_no_direction_ends_alone(line: Line) -> None:
    assert not line.secure.can_write_eof()
    with pytest.raises(RuntimeError, match="does not end alone"):
        line.secure.write_eof()


# Handshakes that fail


def test_a_client_learns_why_its_target_is_not_believed(make_line: MakeLine) -> None:
    line = make_line(accepts=False, name="b.test").shake()
    assert isinstance(line.shaken.exception(), ssl.SSLCertVerificationError)
    assert isinstance(line.other.error, ssl.SSLError), "and so does the target"
    assert line.protocol.heard == []
    assert line.transport.lost


def test_what_is_no_tls_is_told_so_and_closed(make_line: MakeLine) -> None:
    line = make_line()
    line.sends(b"\x16\x03\x01\x00\x05hello")
    assert isinstance(line.shaken.exception(), ssl.SSLError)
    assert line.transport.arrived[:1] == b"\x15", "an alert"
    assert (line.protocol.heard, line.transport.lost, line.services.deadlines.all) == ([], True, [])


def test_who_leaves_in_the_handshake_is_not_heard_of(make_line: MakeLine) -> None:
    line = make_line()
    line.ends()
    assert isinstance(line.shaken.exception(), ConnectionResetError)
    assert line.protocol.heard == []


def test_a_handshake_has_its_time(make_line: MakeLine) -> None:
    line = make_line()
    line.services.deadlines.tick(line.clock.ns + HANDSHAKE_NS - 1)
    assert not line.transport.aborted
    line.services.deadlines.tick(line.clock.ns + HANDSHAKE_NS)
    line.loop.settle()
    assert line.transport.lost
    assert isinstance(line.shaken.exception(), ConnectionResetError)


def test_a_handshake_is_counted_until_it_is_over_and_has_no_deadline_then(make_line: MakeLine) -> None:
    line = make_line()
    assert (line.services.handshakes, len(line.services.deadlines.all)) == (1, 1)
    line.shake()
    assert (line.services.handshakes, line.services.deadlines.all) == (0, [])
    line.secure.close()
    line.loop.settle()
    assert line.services.handshakes == 0


def test_handshakes_take_no_descriptors_that_others_need(make_line: MakeLine) -> None:
    line = make_line()
    line.services.most_connections = 1
    line.secure.connection_lost(None)
    late = TlsConnection(line.services, Heard(), line.server)
    for secure, stays in ((TlsConnection(line.services, Heard(), line.server), True), (late, False)):
        transport = Transport(line.loop, secure, ("192.0.2.9", 9))
        secure.connection_made(transport)
        assert transport.closing is not stays
    line.loop.settle()
    assert line.services.handshakes == 1
    assert line.services.ledger.worker(0)["limited_open_files"] == 1


def test_who_does_not_wait_any_more_is_told_nothing(make_line: MakeLine) -> None:
    line = make_line(accepts=False)
    line.shaken.cancel()
    line.secure.abort()
    line.loop.settle()
    assert (line.protocol.heard, line.loop.problems) == ([], [])


def test_a_failure_that_nobody_waits_for_any_more_is_no_defect(make_line: MakeLine) -> None:
    line = make_line(accepts=False, name="b.test").shake()
    # Whoever connects was told to stop before it could be told of the failure.
    del line.shaken
    gc.collect()
    line.loop.settle()
    assert line.loop.problems == []


# Back-pressure


def test_a_reader_that_stops_pauses_the_protocol(line: Line) -> None:
    line.secure.set_write_buffer_limits(1000, 100)
    line.transport.peer_reads = False
    line.secure.write(b"x" * 2000)
    assert line.protocol.heard == ["made", "pause"]
    assert line.secure.get_write_buffer_size() >= 2000
    line.transport.drain(1 << 20)
    assert line.protocol.heard == ["made", "pause", "resume"]


def test_a_protocol_may_be_followed_by_another(line: Line) -> None:
    after = Heard()
    line.secure.set_protocol(after)
    line.sends(line.other.records(b"for the new one"))
    assert (line.protocol.heard, after.heard) == (["made"], [b"for the new one"])


def test_over_real_sockets_a_connection_is_what_asyncio_takes_it_for(tmp_path: Path) -> None:
    server, client = contexts(tmp_path)
    _, (ledger,) = ledgers(1)

    async def main() -> tuple[bytes, list[object]]:
        loop = asyncio.get_running_loop()
        services = Services(ledger, Clock().now, lambda *_: None)
        services.soon = loop.call_soon
        protocol = Heard()
        protocol.on_data = lambda: (protocol.transport.write(b"y" * 100_000), protocol.transport.close())
        made: Any = TlsConnection(services, protocol, server)
        async with await loop.create_server(lambda: made, "127.0.0.1", 0) as listening:
            port = listening.sockets[0].getsockname()[1]
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client, server_hostname="a.test")
            writer.write(b"x")
            answer = await reader.read()
            writer.close()
            await writer.wait_closed()
        return answer, protocol.heard

    answer, heard = asyncio.run(main())
    assert (answer, heard) == (b"y" * 100_000, ["made", b"x", "lost"])
