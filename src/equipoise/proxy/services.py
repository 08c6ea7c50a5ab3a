"""What an exchange needs of its worker.

Owns: the clock and its stamps, ids, the log as the data path uses it, who is connected, what is looked at soon.
Refuses to know: protocols, the order of the phases (exchange).
"""

import resource
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from librt.strings import BytesWriter
from mypy_extensions import i64

from equipoise.errors import UPSTREAM, ProxyError, client_failed, limited
from equipoise.proxy.access_log import BATCH, AccessLog, JsonLog, Record, encode_line, refusal
from equipoise.proxy.client import Client
from equipoise.proxy.sides import Connection, Connector, Downstream
from equipoise.state.connections import Deadlines, IdleConnections, Timed
from equipoise.state.ledger import (
    LIMIT_FIELDS,
    WORKER_CONNECTIONS,
    WORKER_OWN_ANSWERS,
    WORKER_TUNNELS,
    Ledger,
)
from equipoise.state.snapshot import Snapshot
from equipoise.state.waiting import WaitingRoom
from equipoise.wire.flood import FloodLimits
from equipoise.wire.hpack_memory import Literals

# Between two looks for room that another worker's request has left at a target.
WATCH_SECONDS: Final = 0.005
# The last three digits of the request ids.
ENDINGS: Final = [b"%03x" % low for low in range(0x1000)]


class LogPort:
    """The access log as the data path uses it; swapped whole when the configuration changes."""

    def __init__(self, log: AccessLog, body_limit: int, headers: tuple[tuple[bytes, bool], ...]) -> None:
        """Belongs to one log.

        Args:
            log: where lines go.
            body_limit: bytes of a request's body that a line carries.
            headers: request headers that a line carries: names in lower case, and whether the value is hidden.
        """
        self.sink = log
        self.body_limit: i64 = body_limit
        self.headers = headers
        # Whether the log takes finished lines of JSON.
        self.joins = isinstance(log, JsonLog)
        # Finished lines of JSON, and how many they are. Each is written here piece by piece: joining them costs three
        # times as much.
        self.lines = BytesWriter()
        self.count: i64 = 0

    def finished(self) -> None:
        """One more line stands in `lines`."""
        self.count += 1
        if self.count >= BATCH:
            self.flush()

    def write(self, record: Record) -> None:
        """Takes a record."""
        if self.joins:
            self.lines.write(encode_line(record))
            self.finished()
        else:
            self.sink.write(record)

    def flush(self) -> None:
        """Hands the lines over; called at each tick."""
        count = self.count
        if count:
            self.count = 0
            lines = self.lines.getvalue()
            self.lines.truncate(0)
            sink = self.sink
            assert isinstance(sink, JsonLog)
            sink.put(lines, int(count))


class Services:
    """What an exchange needs of its worker. `snapshot` and `log` are swapped whole; nothing else changes."""

    def __init__(self, ledger: Ledger, clock: Callable[[], int], report: Callable[[str, str, str], None]) -> None:
        """Belongs to one worker.

        Args:
            ledger: the worker's.
            clock: monotonic, nanoseconds.
            report: is told of a target's failures: pool, target, `model.Outcome`.
        """
        self.ledger = ledger
        self.clock = clock
        self.report = report
        self.deadlines = Deadlines()
        self.idle = IdleConnections()
        self.literals = Literals()
        self.floods = FloodLimits()
        self.number: i64 = 0
        self.id_block: bytes = b""
        # Set by the data path before the first connection.
        self.connector: Connector = Connector()
        self.snapshot: Snapshot | None = None
        self.log: LogPort | None = None
        self.id_prefix: bytes = b""
        self.draining = False
        self.soon: Callable[[Callable[[], None]], object] = call_now
        self.later: Callable[[float, Callable[[], None]], object] = never
        # Open connections of clients, and the tunnels that some of them became.
        self.downstreams: set[Connection] = set()
        self.tunnels: list[Timed] = []
        # What stands in for clients where stored answers are asked for anew.
        self.refreshes: set[Connection] = set()
        self._unflushed: list[Connection] = []
        self._wall_offset: i64 = 0
        self._second: i64 = -1
        self._prefix = ""
        self._open: bytes = b""
        self.stamp_ms: i64 = 0
        self.connections: i64 = 0
        # Clients whose TLS handshake is under way: no connections yet, and yet descriptors.
        self.handshakes: i64 = 0
        self.most_connections: i64 = most_connections()
        # By default one client leaves a quarter of what there is to the others.
        self.most_per_client: i64 = max(1, self.most_connections * 3 // 4)
        self.requests: i64 = 0
        # The clock as of the last tick: good enough for deadlines, and free.
        self.now: i64 = 0

    def world(self) -> Snapshot:
        """The snapshot in force."""
        snapshot = self.snapshot
        assert snapshot is not None
        return snapshot

    def joined(self, connection: Connection, client: Client) -> ProxyError | None:
        """A client has connected; what to answer when it is one too many."""
        ledger = self.ledger
        self.connections += 1
        ledger.set_worker(WORKER_CONNECTIONS, self.connections + len(self.tunnels))
        self.deadlines.add(connection)
        self.downstreams.add(connection)
        client.seat = ledger.clients.seat(client.name)
        of_client = ledger.clients.join(client.seat)
        limits = self.world().limits
        most_of_client = limits.connections_per_client
        if not most_of_client:
            most_of_client = self.most_per_client
            of_client = ledger.clients.here(client.seat)
        if self.is_crowded():
            limit = "open_files"
        elif limits.connections and ledger.connections() > limits.connections:
            limit = "connections"
        elif of_client > most_of_client:
            limit = "connections_per_client"
        else:
            return None
        return limited(limit, client_failed("too_many_connections", 503, "Too many connections."))

    def is_crowded(self) -> bool:
        """Whether clients have more descriptors than they may; a tunnel has one for each of its sides."""
        return self.connections + self.handshakes + 2 * len(self.tunnels) > self.most_connections

    def left(self, connection: Connection, client: Client) -> None:
        """A client's connection has closed."""
        self.switched(connection)
        self.ledger.clients.leave(client.seat)
        self.ledger.set_worker(WORKER_CONNECTIONS, self.connections + len(self.tunnels))

    def switched(self, connection: Connection) -> None:
        """A connection became a tunnel: from now on it is counted there."""
        self.connections -= 1
        self.deadlines.remove(connection)
        self.downstreams.discard(connection)

    def has_room_for_tunnel(self) -> bool:
        """Whether one more tunnel may be opened."""
        limit = self.world().limits.tunnels
        return not limit or self.ledger.tunnels() < limit

    def tunnel_opened(self, tunnel: Timed) -> None:
        """Two connections became one tunnel."""
        self.deadlines.add(tunnel)
        self.tunnels.append(tunnel)
        self.ledger.set_worker(WORKER_TUNNELS, len(self.tunnels))

    def tunnel_closed(self, tunnel: Timed, client: Client | None) -> None:
        """A tunnel is over.

        Args:
            tunnel: which.
            client: whose connection it had for itself; None when it was a stream of one.
        """
        self.deadlines.remove(tunnel)
        self.tunnels.remove(tunnel)
        if client is not None:
            self.ledger.clients.leave(client.seat)
        self.ledger.set_worker(WORKER_TUNNELS, len(self.tunnels))
        self.ledger.set_worker(WORKER_CONNECTIONS, self.connections + len(self.tunnels))

    def reached(self, limit: str) -> None:
        """Counts that a limit was reached.

        Args:
            limit: one of `state.ledger.LIMITS`, or empty for none.
        """
        if limit:
            self.ledger.add_worker(LIMIT_FIELDS[limit], 1)

    def answered(self, error: ProxyError) -> None:
        """Counts an answer of the balancer's own."""
        self.ledger.add_worker(WORKER_OWN_ANSWERS + error.status // 100 - 1, 1)
        if error.side != UPSTREAM:
            # A target's delay was counted when the attempt failed.
            self.reached(error.limit)

    def replaced(self, before: Connection, after: Connection) -> None:
        """A connection turned out to speak another protocol."""
        self.deadlines.remove(before)
        self.downstreams.discard(before)
        self.deadlines.add(after)
        self.downstreams.add(after)

    def refused(self, downstream: Downstream, error: ProxyError) -> None:
        """A connection was answered before there was an exchange: counted and logged all the same."""
        self.answered(error)
        log = self.log
        if log is not None:
            log.write(refusal(self.stamp(self.clock()), downstream.sender().name, downstream.protocol(), error))

    def flush_soon(self, connection: Connection) -> None:
        """Has a connection flushed at the end of this turn of the loop, once for all that is gathered until then."""
        if not self._unflushed:
            self.soon(self._flush)
        self._unflushed.append(connection)

    def _flush(self) -> None:
        unflushed = self._unflushed
        self._unflushed = []
        done = 0
        try:
            for connection in unflushed:
                done += 1
                connection.flush()
        finally:
            # One that cannot be flushed must not keep the others from it.
            for connection in unflushed[done:]:
                self.flush_soon(connection)

    def wake(self, room: WaitingRoom) -> None:
        """A target has room: those who wait are looked at, not from here, where an exchange is about to end."""
        if not room.woken:
            room.woken = True
            self.soon(lambda: room.wake(self.clock()))

    def watch(self, room: WaitingRoom) -> None:
        """Looks again and again while somebody waits.

        For those who waited for too long, and for room at a target that another worker's request has left.
        """
        if not room.watched:
            room.watched = True
            self.later(WATCH_SECONDS, lambda: self._look(room))

    def _look(self, room: WaitingRoom) -> None:
        room.watched = False
        now: i64 = self.clock()
        room.expire(now)
        room.wake(now)
        if room.size:
            self.watch(room)

    def set_wall_clock(self, monotonic_ns: i64, wall_ns: i64) -> None:
        """Ties the two clocks together; done at each tick, so that log lines follow corrections of the wall clock."""
        self._wall_offset = wall_ns - monotonic_ns

    def wall(self, monotonic_ns: i64) -> i64:
        """The unix clock at a time of the monotonic one, nanoseconds."""
        return monotonic_ns + self._wall_offset

    def stamp(self, monotonic_ns: i64) -> str:
        """RFC 3339 with milliseconds; the date is formatted once a second."""
        ms = (monotonic_ns + self._wall_offset) // 1_000_000
        second = ms // 1000
        if second != self._second:
            self._second = second
            self._prefix = format_second(int(second))
            self._open = b'{"time":"' + self._prefix.encode()
        self.stamp_ms = ms - second * 1000
        return f"{self._prefix}{int(self.stamp_ms):03d}Z"

    def stamp_open(self, monotonic_ns: i64) -> bytes:
        """The beginning of a JSON line, its time up to the decimal point; `stamp_ms` has the milliseconds behind it."""
        ms = (monotonic_ns + self._wall_offset) // 1_000_000
        second = ms // 1000
        if second != self._second:
            self.stamp(monotonic_ns)
        self.stamp_ms = ms - second * 1000
        return self._open

    def new_request_id(self) -> bytes:
        """Unique over workers and restarts: a random prefix made at the worker's start, and a number in hexadecimal."""
        number = self.number
        self.number = number + 1
        low = number & 0xFFF
        if low == 0:
            self.id_block = b"%b%05x" % (self.id_prefix, int(number >> 12))
        return self.id_block + ENDINGS[low]


def format_second(second: int) -> str:
    """Seconds since 1970 as RFC 3339 up to the decimal point."""
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S.")


def most_connections() -> int:
    """Clients that this process takes at once, so that descriptors are left to reach targets, write logs and accept.

    Returns:
        Seven eighths of the limit on open files, since idle clients need no second descriptor; half where it is small.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return limit - limit // 8 if limit >= 1_024 else max(1, (limit - 24) // 2)


def never(seconds: float, callback: Callable[[], None]) -> None:
    """Stands in for the loop's `call_later` until there is one."""


def call_now(callback: Callable[[], None]) -> None:
    """Stands in for the loop's `call_soon` until there is one."""
    callback()
