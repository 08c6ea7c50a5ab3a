"""The data path in a dialogue: bytes in on this side, expected bytes out on that side.

Owns: a worker's whole data path, real but for its sockets and its clock, and the words to talk with it.
Refuses to know: what any one dialogue shows.
"""

from collections import Counter
from typing import Any

from equipoise.model import LimitsSpec, PoolSpec, World
from equipoise.proxy.access_log import AccessLog, Record
from equipoise.proxy.connector import TcpConnector
from equipoise.proxy.data_path import DataPath
from equipoise.proxy.services import LogPort
from tests.support.ledgers import ledgers, pool, target, world
from tests.support.transport import Clock, Dial, Peer, ScriptedLoop, ScriptedTls, Secured, Transport

CLIENT = "192.0.2.1"


class KeptLog(AccessLog):
    """An access log that a test reads."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    def write(self, record: Record) -> None:
        self.records.append(record)


class Dialogue:
    """One worker with a pool of three targets a, b and c, which take turns."""

    def __init__(self, *pools: PoolSpec, workers: int = 1, **settings: Any) -> None:
        self.clock = Clock()
        self.loop = ScriptedLoop(self.clock)
        self.supervisor, (self.ledger, *self.other_workers) = ledgers(workers)
        self.reports: list[tuple[str, str, str]] = []
        self.path = DataPath(self.ledger, self.loop, lambda *what: self.reports.append(what))
        self.services = self.path.services
        connector = self.services.connector
        assert isinstance(connector, TcpConnector)
        connector.secured = ScriptedTls
        self.services.clock = self.clock.now
        self.services.id_prefix = b"00000000"
        self.peers: list[Peer] = []
        self.log = KeptLog()
        self.path.tick(self.clock.ns)
        self.world: World
        self.apply(*(pools or [web()]), **settings)

    def apply(self, *pools: PoolSpec, **settings: Any) -> None:
        """A new world."""
        self.world = world(*pools, **settings)
        self.path.apply(self.world)
        self.services.log = LogPort(self.log, 16, ())

    # The two sides

    def client(self, address: str = CLIENT, alpn: str | None = None) -> Peer:
        """A client connects; over TLS, `alpn` is what was agreed on."""
        protocol: Any = self.path.downstream()
        peer = self._peer(protocol, (address, 50000))
        if alpn is not None:
            peer.transport.secured = Secured(alpn)
        protocol.connection_made(peer.transport)
        self.loop.settle()
        return peer

    @property
    def dials(self) -> list[str]:
        """The addresses that are being connected to."""
        return [dial.host for dial in self.loop.dials]

    def accept(self, name: str | None = None) -> Peer:
        """The target that was dialled first, or the first dial of that target, accepts."""
        number = 0 if name is None else self.dials.index(self.address(name))
        return self.answer(self.loop.dials.pop(number), reads=True)

    def answer(self, dial: Dial, *, reads: bool) -> Peer:
        """A dialled target accepts, and then reads or does not."""
        peer = self.accept_silently(dial, reads=reads)
        self.loop.settle()
        return peer

    def accept_silently(self, dial: Dial, *, reads: bool = True, alpn: str | None = None) -> Peer:
        """Likewise, but the one who dialled has not heard of it; over TLS, `alpn` is what the target chose."""
        protocol = dial.protocol
        peer = self._peer(protocol, (dial.host, dial.port))
        peer.transport.peer_reads = reads
        assert (dial.context is None) is (alpn is None), "TLS where it is wanted, and nowhere else"
        if alpn is not None:
            peer.transport.secured = Secured(alpn)
        protocol.connection_made(peer.transport)
        dial.answer.set_result(peer)
        return peer

    def refuse(self, error: OSError | None = None) -> None:
        """The target that was dialled first refuses."""
        dial = self.loop.dials.pop(0)
        dial.answer.set_exception(error or ConnectionRefusedError(111, "Connect call failed"))
        self.loop.settle()

    def address(self, name: str) -> str:
        return next(t.addresses[0] for p in self.world.pools for t in p.targets if t.name == name)

    def idle_target(self) -> Peer:
        """A target with an idle connection that carried one exchange; the log and the counts say so."""
        client = self.client()
        client.says(GET)
        upstream = self.accept()
        upstream.says(OK)
        client.ends()
        upstream.hears()
        return upstream

    # Time and what is left

    def pass_time(self, seconds: float) -> None:
        """Time passes by ticks of 100 ms."""
        for _ in range(round(seconds * 10)):
            self.clock.advance(0.1)
            self.path.tick(self.clock.ns)
            self.loop.settle()

    @property
    def records(self) -> list[Record]:
        return self.log.records

    @property
    def record(self) -> Record:
        """The one line of the log."""
        assert len(self.log.records) == 1
        return self.log.records[0]

    @property
    def in_flight(self) -> dict[str, int]:
        """What is in flight, where there is something."""
        slots = {t.name: t.slot for p in self.world.pools for t in p.targets}
        return {name: count for name, slot in slots.items() if (count := self.supervisor.in_flight(slot))}

    def totals(self, name: str = "a") -> Counter[str]:
        """A target's counts, without the zeros."""
        slot = next(t.slot for p in self.world.pools for t in p.targets if t.name == name)
        return self.slot_totals(slot)

    def slot_totals(self, slot: int) -> Counter[str]:
        """A slot's counts, as the supervisor sees them after the next tick."""
        self.services.ledger.flush()
        return +Counter(self.supervisor.totals(slot))

    def close(self) -> None:
        """Cuts everything, and checks that nothing is left of it."""
        try:
            self.path.abort()
            self.loop.settle()
            while self.loop.dials:
                self.refuse()
            assert self.loop.problems == []
            assert self.in_flight == {}
            assert self.path.connections == 0
            assert not self.services.tunnels
            assert not self.services.downstreams
            clients = self.ledger.clients
            assert clients.join(clients.seat(CLIENT)) == 1, "connections are counted that have closed"
            stacks = self.services.idle.by_slot.values()
            idle = {c for stack in stacks for c in (*stack.connections, *stack.shared)}
            open_upstream = {p for p in self.peers if not p.transport.lost}
            assert len(idle) == len(open_upstream), "an upstream connection is neither idle nor closed"
            assert len(self.services.deadlines.all) == len(idle)
        finally:
            for peer in self.peers:
                peer.transport.release()
            self.loop.close()

    def _peer(self, protocol: Any, peername: tuple[str, int]) -> Peer:
        peer = Peer(Transport(self.loop, protocol, peername))
        self.peers.append(peer)
        return peer


# Words

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def web(**settings: Any) -> PoolSpec:
    """Three targets that take turns."""
    return pool(target("a", 1), target("b", 2), target("c", 3), **settings)


def only(**settings: Any) -> PoolSpec:
    """One target."""
    return pool(target("a", 1), **settings)


def limits(**settings: Any) -> LimitsSpec:
    return LimitsSpec(**settings)


def request_id(number: int = 0) -> bytes:
    return b"00000000%08x" % number


def up(head: bytes, number: int = 0, body: bytes = b"") -> bytes:
    """A request from CLIENT for host x as it goes up, from its head as it came, without the last empty line."""
    ours = b"X-Forwarded-For: 192.0.2.1\r\nX-Forwarded-Proto: http\r\nVia: 1.1 equipoise\r\nX-Forwarded-Host: x\r\n"
    return head.removesuffix(b"\r\n\r\n") + b"\r\n" + ours + b"X-Request-Id: " + request_id(number) + b"\r\n\r\n" + body


def down(head: bytes, number: int = 0, body: bytes = b"") -> bytes:
    """An answer as it goes down, from its head as it is to arrive but for the id, without the last empty line."""
    return head.removesuffix(b"\r\n\r\n") + b"\r\nX-Request-Id: " + request_id(number) + b"\r\n\r\n" + body


def ok_down(number: int = 0) -> bytes:
    """`OK` as it goes down."""
    return down(b"HTTP/1.1 200 OK\r\nContent-Length: 2", number, b"ok")


def status_of(answer: bytes) -> int:
    return int(answer[9:12]) if answer else 0
