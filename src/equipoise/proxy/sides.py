"""The two sides of an exchange, and what it needs of its worker: the seams between the modules of the data path.

Owns: who may call what on whom.
Refuses to know: protocols (downstream_*, upstream_*), the order of the phases (exchange).

Native base classes and not protocols: calls through them stay native when compiled.
"""

import resource
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

from mypy_extensions import i64

from equipoise.errors import ProxyError
from equipoise.proxy.access_log import BATCH, AccessLog, JsonLog, Record, encode_line, refusal
from equipoise.proxy.client import Client
from equipoise.state.connections import Deadlines, IdleConnections, Reusable, Stack, Timed
from equipoise.state.ledger import WORKER_CONNECTIONS, WORKER_OWN_ANSWERS, Ledger
from equipoise.state.snapshot import Snapshot, Target
from equipoise.state.waiting import Waiter, WaitingRoom
from equipoise.wire.flood import FloodLimits
from equipoise.wire.hpack_header import Header
from equipoise.wire.hpack_memory import Literals
from equipoise.wire.http1 import ResponseHead
from equipoise.wire.message import Request, Response

# Between two looks for room that another worker's request has left at a target.
WATCH_SECONDS: Final = 0.005
# The last three digits of the request ids.
ENDINGS: Final = [b"%03x" % low for low in range(0x1000)]


class Relay(Waiter):
    """What both sides call back: an exchange."""

    def __init__(self, head: Request, decodes: bool) -> None:
        """Belongs to one request.

        Args:
            head: the request's.
            decodes: whether a chunked answer reaches this client without its framing.
        """
        super().__init__()
        self.head: Request = head
        self.decodes = decodes
        # Whether the request's body is chunked where it goes by HTTP/1.
        self.chunked = False

    # -- by the upstream side

    def request_http1(self) -> bytes:
        """The request's head as it is sent by HTTP/1."""
        raise AssertionError

    def request_http2(self) -> list[Header]:
        """The request's head as it is sent by HTTP/2."""
        raise AssertionError

    def connected(self, upstream: "Upstream") -> None:
        """A connection to the picked target is ready."""
        raise AssertionError

    def interim(self, head: Response) -> None:
        """A 1xx answer other than 101."""
        raise AssertionError

    def response_head(self, head: Response, body: bytes, last: bool) -> None:
        """The final answer's head, with what came of its body in the same read."""
        raise AssertionError

    def response_body(self, data: bytes, last: bool) -> None:
        """More of the answer's body; chunked as it came when that is how it goes to the client (`decodes`)."""
        raise AssertionError

    def response_trailers(self, fields: list[Header]) -> None:
        """The end of the answer, with trailers that were not part of its framing."""
        raise AssertionError

    def switched(self, head: ResponseHead, rest: bytes) -> None:
        """101: from now on both connections carry another protocol; `rest` are its first bytes."""
        raise AssertionError

    def upstream_failed(self, error: ProxyError) -> None:
        """The attempt failed; the upstream side has let go of the exchange."""
        raise AssertionError

    def upstream_full(self) -> None:
        """The target reads slower than the client sends."""
        raise AssertionError

    def upstream_drained(self) -> None:
        """The target reads again."""
        raise AssertionError

    def tunnel_closed(self, bytes_in: i64, bytes_out: i64) -> None:
        """The tunnel that `switched` began has closed."""
        raise AssertionError

    # -- by the cache

    def ask_target(self) -> None:
        """The cache does not answer: a target has to."""
        raise AssertionError

    def stored(self, head: ResponseHead, body: bytes) -> None:
        """The cache answers."""
        raise AssertionError

    def not_stored(self) -> None:
        """The client wants a stored answer or none, and there is none."""
        raise AssertionError

    def twin(self) -> "Relay":
        """The same request once more, for nobody: its answer goes into the cache alone."""
        raise AssertionError

    def revalidate(self, lookup: object) -> None:
        """Begins, with its part of the cache."""
        raise AssertionError

    # -- by the downstream side

    def begin(self, body: bytes, last: bool) -> None:
        """The head is read; `body` is what came behind it."""
        raise AssertionError

    def request_body(self, data: bytes, last: bool) -> None:
        """More of the request's body, without framing."""
        raise AssertionError

    def request_trailers(self, fields: list[Header]) -> None:
        """The end of the request, with trailers."""
        raise AssertionError

    def request_failed(self, error: ProxyError) -> None:
        """The client broke the rules, was too slow in the middle of its request, or has waited as long as it wanted."""
        raise AssertionError

    def downstream_lost(self) -> None:
        """The client left."""
        raise AssertionError

    def downstream_full(self) -> None:
        """The client reads slower than the target sends."""
        raise AssertionError

    def downstream_drained(self) -> None:
        """The client reads again."""
        raise AssertionError


class Connection(Timed):
    """A connection as the worker sees it: it drains, it cuts, and some are flushed at the end of the loop's turn."""

    def flush(self) -> None:
        """Sends what was gathered; see `Services.flush_soon`."""

    def begin_drain(self) -> None:
        """Tells the client to go elsewhere with new requests, where the protocol can."""

    def close_idle(self) -> None:
        """Closes when nothing is under way; otherwise when nothing is any more."""
        raise AssertionError

    def cut(self) -> None:
        """Ends the connection and what runs on it."""
        raise AssertionError

    def cut_target(self, slot: int) -> None:
        """Ends what is in flight at a target."""
        raise AssertionError


class Downstream(Connection):
    """The client's connection, or a stream of it."""

    def __init__(self) -> None:
        super().__init__()
        # Set by `connection_made`, before anything else can happen.
        self.client: Client | None = None
        # Chunked answers reach this client without their framing.
        self.decodes = False
        self.transport: Any = None

    def protocol(self) -> str:
        """HTTP/1.1, as the access log says it."""
        raise AssertionError

    def tunnels(self) -> bool:
        """Whether the request is nothing but the beginning of a tunnel (RFC 8441)."""
        return False

    def sender(self) -> Client:
        """Who sent the request."""
        client = self.client
        assert client is not None
        return client

    def send_interim(self, head: Response) -> None:
        """Passes on a 1xx answer."""
        raise AssertionError

    def send_head(self, head: Response, body: bytes, last: bool) -> None:
        """Passes on an answer's head and the beginning of its body."""
        raise AssertionError

    def send_body(self, data: bytes, last: bool) -> None:
        """Passes on more of the body."""
        raise AssertionError

    def send_trailers(self, fields: list[Header]) -> None:
        """Ends an answer with trailers, where this client can have them."""
        raise AssertionError

    def send_own(self, error: ProxyError, retry_after: int) -> i64:
        """Answers for the balancer itself; returns the bytes of the body."""
        raise AssertionError

    def hold(self) -> None:
        """Stops reading from the client."""
        raise AssertionError

    def let(self) -> None:
        """Reads from the client again."""
        raise AssertionError

    def abort(self) -> None:
        """Breaks off in the middle of an answer, so that the client sees it is not whole."""
        raise AssertionError

    def exchange_over(self) -> None:
        """The exchange has ended; the connection may take the next."""
        raise AssertionError

    def switch(self, head: ResponseHead, protocol: Any) -> bytes:
        """Sends the 101 and hands the connection to a tunnel; returns what the client sent already."""
        raise AssertionError


class Upstream(Reusable):
    """A connection to a target, or a stream of one."""

    def __init__(self, stack: Stack) -> None:
        super().__init__(stack)
        self.transport: Any = None
        # How many exchanges it carried before this one.
        self.uses: i64 = 0

    def start(self, relay: Relay, body: bytes, last: bool) -> None:
        """Sends a request's head and the beginning of its body, and reports the answer to `relay`."""
        raise AssertionError

    def send_body(self, data: bytes, last: bool) -> None:
        """Sends more of the request's body."""
        raise AssertionError

    def send_trailers(self, fields: list[Header]) -> None:
        """Ends the request with trailers."""
        raise AssertionError

    def hold(self) -> None:
        """Stops reading from the target."""
        raise AssertionError

    def let(self) -> None:
        """Reads from the target again."""
        raise AssertionError

    def cancel(self) -> None:
        """Ends the attempt at once, without a call back."""
        raise AssertionError


class Connector:
    """Makes new connections to targets."""

    def connect(self, target: Target, relay: Relay) -> None:
        """Calls `relay.connected`, or `relay.upstream_failed`, later."""
        raise AssertionError


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
        self.lines: list[bytes] = []

    def add(self, line: bytes) -> None:
        """Takes a finished line."""
        self.lines.append(line)
        if len(self.lines) >= BATCH:
            self.flush()

    def write(self, record: Record) -> None:
        """Takes a record."""
        if self.joins:
            self.add(encode_line(record))
        else:
            self.sink.write(record)

    def flush(self) -> None:
        """Hands the lines over; called at each tick."""
        lines = self.lines
        if lines:
            self.lines = []
            sink = self.sink
            assert isinstance(sink, JsonLog)
            sink.put(lines)


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
        self._unflushed: list[Connection] = []
        self._wall_offset: i64 = 0
        self._second: i64 = -1
        self._prefix = ""
        self._open: bytes = b""
        self.stamp_ms: i64 = 0
        self.connections: i64 = 0
        self.most_connections: i64 = most_connections()
        self.requests: i64 = 0
        # The clock as of the last tick: good enough for deadlines, and free.
        self.now: i64 = 0

    def world(self) -> Snapshot:
        """The snapshot in force."""
        snapshot = self.snapshot
        assert snapshot is not None
        return snapshot

    def joined(self, connection: Connection) -> bool:
        """A client has connected; false when there are too many."""
        self.connections += 1
        open_here = self.connections + len(self.tunnels)
        self.ledger.set_worker(WORKER_CONNECTIONS, open_here)
        self.deadlines.add(connection)
        self.downstreams.add(connection)
        limit = self.world().limits.connections
        return not (limit and self.ledger.connections() > limit) and self.connections <= self.most_connections

    def left(self, connection: Connection) -> None:
        """A client's connection has closed."""
        self.switched(connection)
        self.ledger.set_worker(WORKER_CONNECTIONS, self.connections + len(self.tunnels))

    def switched(self, connection: Connection) -> None:
        """A connection became a tunnel: from now on it is counted there."""
        self.connections -= 1
        self.deadlines.remove(connection)
        self.downstreams.discard(connection)

    def replaced(self, before: Connection, after: Connection) -> None:
        """A connection turned out to speak another protocol."""
        self.deadlines.remove(before)
        self.downstreams.discard(before)
        self.deadlines.add(after)
        self.downstreams.add(after)

    def refused(self, downstream: Downstream, error: ProxyError) -> None:
        """A connection was answered before there was an exchange: counted and logged all the same."""
        self.ledger.add_worker(WORKER_OWN_ANSWERS + error.status // 100 - 1, 1)
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
        for connection in unflushed:
            connection.flush()

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
