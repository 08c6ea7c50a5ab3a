"""The balancer's own health service: grpc.health.v1 answered here, for whoever stands in front of it.

Owns: the two methods `Check` and `Watch`, and what `SERVING` means: a target of the pool can be chosen.
Refuses to know: how the health of targets is found out.

The service's name in a request is that of a pool; the empty one stands for all of them.
"""

from typing import Final

from mypy_extensions import i64

from equipoise.errors import ProxyError, malformed
from equipoise.proxy.http2_connection import Http2Connection
from equipoise.proxy.http2_stream import Http2Stream
from equipoise.proxy.own_answers import GRPC_TYPE_FIELD
from equipoise.proxy.services import Services
from equipoise.state.connections import Timed
from equipoise.state.snapshot import Pool
from equipoise.wire.grpc import NOT_FOUND, OK, PREFIX_SIZE, GrpcError, frame_message
from equipoise.wire.grpc_health import (
    HEALTH_PATH,
    NOT_SERVING,
    SERVICE_UNKNOWN,
    SERVING,
    health_response,
    read_health_request,
)
from equipoise.wire.hpack_header import Header, header
from equipoise.wire.message import STATUSES

WATCH_PATH: Final = b"/grpc.health.v1.Health/Watch"
METHODS: Final = frozenset((HEALTH_PATH, WATCH_PATH))
# A request is a name.
MAX_MESSAGE: Final = 4 * 1024
# How often those who watch are told of a change.
LOOK_NS: Final = 1_000_000_000
HEAD: Final = [STATUSES[200], GRPC_TYPE_FIELD]


class HealthCall(Timed):
    """One call of the service."""

    def __init__(self, services: Services, connection: Http2Connection, stream: Http2Stream, watches: bool) -> None:
        """Waits for the request's message.

        Args:
            services: of the worker.
            connection: the client's.
            stream: the call's.
            watches: whether the call stays, and hears of every change.
        """
        super().__init__()
        self._services = services
        self._connection = connection
        self._stream = stream
        self._watches = watches
        self._received: bytes = b""
        self._service = ""
        self._told = -1

    def received(self, data: bytes, end: bool) -> ProxyError | None:
        """Takes a piece of the request; answers when it is whole.

        Returns:
            Why it cannot be answered.
        """
        self._received += data
        if len(self._received) > MAX_MESSAGE + PREFIX_SIZE:
            return malformed("health request too large", 413)
        if not end:
            return None
        message = self._received
        if len(message) < PREFIX_SIZE or message[0] != 0:
            return malformed("no health request, or a compressed one")
        if int.from_bytes(message[1:PREFIX_SIZE], "big") != len(message) - PREFIX_SIZE:
            return malformed("not one health request")
        try:
            self._service = read_health_request(message[PREFIX_SIZE:])
        except GrpcError as error:
            return malformed(error.detail)
        self._answer()
        return None

    def lost(self) -> None:
        """The client has gone."""
        self._services.deadlines.remove(self)

    def expire(self, now: i64) -> None:
        """Tells the one who watches when something has changed."""
        if self._stream.gone:
            self.lost()
            return
        self.deadline = now + LOOK_NS
        status = self._status()
        if status != self._told:
            self._tell(status, False)

    def _answer(self) -> None:
        status = self._status()
        if status == SERVICE_UNKNOWN and not self._watches:
            self._connection.send_fields(self._stream, [*HEAD, *ended(NOT_FOUND)], True)
            return
        self._connection.send_fields(self._stream, list(HEAD), False)
        self._tell(status, not self._watches)
        if self._watches:
            self.deadline = self._services.now + LOOK_NS
            self._services.deadlines.add(self)

    def _tell(self, status: int, last: bool) -> None:
        self._told = status
        self._connection.send_data(self._stream, frame_message(health_response(status)), False)
        if last:
            self._connection.send_fields(self._stream, ended(OK), True)

    def _status(self) -> int:
        pools = self._services.world().pools
        if not self._service:
            return self._serving(list(pools.values()))
        pool = pools.get(self._service)
        return SERVICE_UNKNOWN if pool is None else self._serving([pool])

    def _serving(self, pools: list[Pool]) -> int:
        if self._services.draining:
            return NOT_SERVING
        return SERVING if any(pool.targets for pool in pools) else NOT_SERVING


def ended(status: int) -> list[Header]:
    """The trailers of a call."""
    return [header(b"grpc-status", b"%d" % status)]
