"""The two sides of an exchange: the seams between the modules of the data path.

Owns: who may call what on whom.
Refuses to know: protocols (downstream_*, upstream_*), the order of the phases (exchange).

Native base classes and not protocols: calls through them stay native when compiled.
"""

from typing import Any

from mypy_extensions import i64

from equipoise.errors import ProxyError
from equipoise.proxy.client import Client
from equipoise.state.connections import Reusable, Stack, Timed
from equipoise.state.snapshot import Target
from equipoise.state.waiting import Waiter
from equipoise.wire.hpack_header import Header
from equipoise.wire.http1 import ResponseHead
from equipoise.wire.message import Request, Response


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

    def cut_at(self, slot: int) -> None:
        """Ends an attempt at a target that was removed by force."""
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
