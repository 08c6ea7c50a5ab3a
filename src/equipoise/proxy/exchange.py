"""One request and its response. Read this first.

Owns: the order of the phases and the single exit.
Refuses to know: bytes on the wire, sockets, how a target is chosen, what may be cached (lookup), how a line is logged
(account).
Called by: downstream_* (requests), upstream_* (answers), through `Relay`.

    begin -> route -> lookup -> attempt { pick, taking a lease -> acquire a connection -> send } -> relay -> finish

A failed attempt either leads to another one (`policy.retry` has the rule) or to an answer of the balancer's own. Every
path ends in `finish`, once: it releases the lease, counts, logs, and gives the downstream connection back to its next
request.
"""

from typing import Final

from mypy_extensions import i64

from equipoise.errors import (
    RETRY_IF_SAFE,
    RETRY_NEVER,
    SELF,
    UPSTREAM,
    ProxyError,
    client_failed,
    limited,
    refused,
    upstream_failed,
)
from equipoise.policy.caching import TRAILERS
from equipoise.proxy.attempts import UNDONE, Attempts
from equipoise.proxy.background import Background
from equipoise.proxy.lookup import PASS, USE_STORED, Lookup
from equipoise.proxy.own_answers import retry_after
from equipoise.proxy.sides import Relay
from equipoise.proxy.tunnel import Tunnel
from equipoise.proxy.websocket import accepts, new_key
from equipoise.state.snapshot import Pool
from equipoise.wire.grpc import UNAVAILABLE
from equipoise.wire.hpack_header import GRPC_STATUS, Header, header
from equipoise.wire.http1 import RequestHead, ResponseHead
from equipoise.wire.http2_rules import Http2Request, Http2Response
from equipoise.wire.message import Response, request_fields, request_lines

# What the target's health hears of a failure, by its kind (model.Outcome); other kinds are not the target's fault.
OUTCOMES: Final = {
    "connect_refused": "connect_failed",
    "connect_failed": "connect_failed",
    "connect_timeout": "connect_failed",
    "tls_failed": "connect_failed",
    "reset": "reset",
    "closed_early": "reset",
    "response_timeout": "timeout",
    "malformed": "malformed",
}
# How a connection that was reused looks when its target had closed it already.
LOST: Final = frozenset(("reset", "closed_early"))
# What an attempt at a target that was removed by force ends with.
TARGET_REMOVED: Final = ProxyError("target_removed", SELF, RETRY_IF_SAFE, 502, "The target was removed.")
# A gRPC call that its target refused before it did anything for it.
GRPC_UNAVAILABLE: Final = b"%d" % UNAVAILABLE
# nginx's status for a client that left before it was answered; only the log and the counters see it.
CLIENT_LEFT: Final = 499


class Exchange(Attempts):
    """A request in flight: lives from the end of its head to `finish`."""

    # -- the phases

    def begin(self, body: bytes, last: bool) -> None:
        """Routes the request and starts the first attempt."""
        services = self.services
        head = self.head
        snapshot = services.world()
        self.request_id = services.new_request_id() if head.request_id is None else head.request_id
        pool = snapshot.single
        if pool is None:
            pool = self._route()
        self.chunked = head.chunked if isinstance(head, RequestHead) else not last and head.content_length < 0
        self.whole = last
        self.pool = pool
        if body:
            self._hold(body)
        if pool is None:
            self._answer(refused("no_route", 404, "No route matches this host and path."))
            return
        if head.upgrade is not None and not services.has_room_for_tunnel():
            self._answer(too_many_tunnels())
            return
        if pool.cache is not None and head.upgrade is None:
            lookup = Lookup(pool.cache, services, self)
            self.lookup = lookup
            # Of one with trailers it counts that there is more than a body.
            whole = last and self.trailers is None
            lookup.begin(self.client.scheme, len(body) if whole else head.content_length)
            if last and lookup.gathers:
                if whole:
                    lookup.body_is_whole(body)
                else:
                    lookup.leave_out(TRAILERS)
            return
        pool.budget.earn()
        self._attempt(pool)

    def ask_target(self) -> None:
        """See `Relay.ask_target`."""
        pool = self.pool
        assert pool is not None
        if self.lookup is not None and self.lookup.stores:
            # What is stored has no framing.
            self.decodes = True
        pool.budget.earn()
        self._attempt(self._as_it_is_now(pool))

    def stored(self, head: ResponseHead, body: bytes) -> None:
        """See `Relay.stored`."""
        self.from_store = True
        self.failure = None
        self.status = head.status
        self.bytes_out = len(body)
        self.downstream.send_head(head, body, True)
        self.finish()

    def not_stored(self) -> None:
        """See `Relay.not_stored`: RFC 9111 5.2.1.7."""
        self._answer(refused("not_cached", 504, "The client wants a stored answer, and there is none."))

    def twin(self) -> Relay:
        """See `Relay.twin`."""
        twin = Exchange(self.services, Background(self.services, self.client), self.head)
        twin.pool = self.pool
        twin.chunked = self.chunked
        twin.held = self.held
        twin.whole = True
        return twin

    def revalidate(self, lookup: object) -> None:
        """See `Relay.revalidate`."""
        assert isinstance(lookup, Lookup)
        downstream = self.downstream
        assert isinstance(downstream, Background)
        self.request_id = self.services.new_request_id()
        self.lookup = lookup
        downstream.began(self)
        if not lookup.ask_alone():
            self.over = True
            self.lookup = None
            downstream.exchange_over()

    def request_http1(self) -> bytes:
        """See `Relay.request_http1`."""
        head = self.head
        if isinstance(head, RequestHead):
            # A copy: another attempt may go to a target that speaks HTTP/2.
            parts = list(head.keep)
            if head.chunked:
                parts.append(head.chunked_lines())
        else:
            parts = request_lines(head, not self.chunked)
        if self.lookup is not None and self.lookup.conditions:
            parts = self.lookup.condition_lines(parts)
        if isinstance(head, Http2Request) and head.upgrade is not None:
            self.key = new_key()
            parts.append(b"Sec-WebSocket-Key: " + self.key + b"\r\n")
        parts.append(self.client.lines(head))
        parts.append(self.request_id)
        if head.upgrade is not None:
            parts.append(b"\r\nConnection: Upgrade\r\nUpgrade: " + head.upgrade)
        parts.append(b"\r\n\r\n")
        return b"".join(parts)

    def request_http2(self) -> list[Header]:
        """See `Relay.request_http2`."""
        client = self.client
        fields = request_fields(self.head, client.scheme, client.authority(self.head))
        if self.lookup is not None and self.lookup.conditions:
            fields = self.lookup.condition_fields(fields)
        fields.extend(client.fields(self.head))
        fields.append(header(b"x-request-id", self.request_id))
        return fields

    def _route(self) -> Pool | None:
        snapshot = self.services.world()
        name = snapshot.router.match(self.head.host, self.head.target)
        return None if name is None else snapshot.pools.get(name)

    # -- relay: upwards

    def request_body(self, data: bytes, last: bool) -> None:
        """Passes on more of the request's body, and keeps it while another attempt may need it."""
        self.whole = last
        upstream = self.upstream
        if data:
            self._hold(data)
        lookup = self.lookup
        if lookup is not None and lookup.gathers:
            lookup.body_grew(self.held_bytes)
            if last and lookup.gathers:
                lookup.body_is_whole(b"" if self.held is None else b"".join(self.held))
        elif upstream is not None:
            upstream.send_body(data, last)
        elif self.held_bytes > self.services.world().limits.buffer and not last:
            self.downstream.hold()

    def request_trailers(self, fields: list[Header]) -> None:
        """Passes on the trailers that end the request."""
        self.whole = True
        self.trailers = fields
        lookup = self.lookup
        if lookup is not None and lookup.gathers:
            # They go up with the rest.
            lookup.leave_out(TRAILERS)
        elif self.upstream is not None:
            self.upstream.send_trailers(fields)

    def _hold(self, data: bytes) -> None:
        """Keeps a piece of the body: for the log, for another attempt, or until there is a connection."""
        size = len(data)
        self.bytes_in += size
        log = self.services.log
        if log is not None and self.body_kept < log.body_limit:
            self._capture(data, log.body_limit)
        pool = self.pool
        limit: i64 = 0 if pool is None else pool.retry_buffer
        self.held_bytes += size
        if self.held_bytes > limit:
            self.replayable = False
            if self.upstream is not None:
                self.held = None
                return
        if self.replayable or self.upstream is None:
            if self.held is None:
                self.held = []
            self.held.append(data)

    def _capture(self, data: bytes, limit: i64) -> None:
        if self.body is None:
            self.body = []
        kept = data[: limit - self.body_kept]
        self.body.append(kept)
        self.body_kept += len(kept)

    def upstream_full(self) -> None:
        """Back-pressure, upwards."""
        if not self.whole:
            self.downstream.hold()

    def upstream_drained(self) -> None:
        """Back-pressure, over."""
        if not self.whole:
            self.downstream.let()

    # -- relay: downwards

    def interim(self, head: Response) -> None:
        """Passes on 100 and 103 (RFC 9110 15.2)."""
        self.downstream.send_interim(head)

    def response_head(self, head: Response, body: bytes, last: bool) -> None:
        """Passes on the answer; from here on there is no other attempt."""
        if isinstance(head, Http2Response) and head.grpc_status:
            self.grpc_status = head.grpc_status
            if last and head.grpc_status == GRPC_UNAVAILABLE and self._try_elsewhere():
                return
        if self.key and 200 <= head.status < 300:
            # In answer to an extended CONNECT it would say that the tunnel is open (RFC 8441 5).
            self._cancel()
            self.upstream_failed(upstream_failed("malformed", RETRY_NEVER, "The target did not switch to WebSocket."))
            return
        self.count_answer(head.status)
        lookup = self.lookup
        if lookup is not None and not self._passes(lookup, head, body, last):
            return
        self.bytes_out = len(body)
        self.held = None
        self.replayable = False
        if last:
            self._leave_target()
        self.downstream.send_head(head, body, last)
        if last:
            self.finish()

    def _passes(self, lookup: Lookup, head: Response, body: bytes, last: bool) -> bool:
        """Shows the answer to the cache; false when it is not for the client."""
        verdict = lookup.answered(head)
        if verdict == PASS:
            if lookup.stores:
                lookup.gather(body)
                if last:
                    lookup.whole(False)
            return True
        if last:
            self._leave_target()
        else:
            self._cancel()
        if verdict == USE_STORED:
            lookup.serve_stored()
        else:
            self._ask_again()
        return False

    def _ask_again(self) -> None:
        """Sends the request once more, without the conditions that its answer did not heed."""
        self._release()
        self.answered = 0
        pool = self.pool
        assert pool is not None
        if self.replayable:
            self._attempt(self._as_it_is_now(pool))
        else:
            self._answer(upstream_failed("malformed", RETRY_NEVER, "The target's 304 is of another answer."))

    def response_body(self, data: bytes, last: bool) -> None:
        """Passes on more of the answer's body."""
        self.bytes_out += len(data)
        lookup = self.lookup
        if lookup is not None and lookup.stores:
            lookup.gather(data)
            if last:
                lookup.whole(False)
        if last:
            self._leave_target()
        self.downstream.send_body(data, last)
        if last:
            self.finish()

    def response_trailers(self, fields: list[Header]) -> None:
        """Passes on the trailers that end the answer."""
        for field in fields:
            if field.kind == GRPC_STATUS:
                self.grpc_status = field.value
        if self.lookup is not None:
            self.lookup.whole(True)
        self._leave_target()
        self.downstream.send_trailers(fields)
        self.finish()

    def _leave_target(self) -> None:
        """The answer is whole: nothing is in flight at the target any more, and the client must not see it earlier.

        The connection may be idle already, and back-pressure from this answer is not its next exchange's.
        """
        self.upstream = None
        self._release()

    def switched(self, head: ResponseHead, rest: bytes) -> None:
        """Turns both connections into a tunnel, which holds the lease until it closes."""
        upstream = self.upstream
        assert upstream is not None
        if self.key and not accepts(self.key, head.find(b"sec-websocket-accept")):
            upstream.cancel()
            self.upstream_failed(upstream_failed("malformed", RETRY_NEVER, "The target's handshake is not WebSocket."))
            return
        self.count_answer(head.status)
        self.upstream = None
        if not self.services.has_room_for_tunnel():
            # Others came first while the target was asked.
            upstream.cancel()
            self._answer(too_many_tunnels())
            return
        Tunnel(self.services, self).open(self.downstream, upstream, head, rest)

    def tunnel_closed(self, bytes_in: i64, bytes_out: i64) -> None:
        """The tunnel's bytes are the exchange's."""
        self.bytes_in += bytes_in
        self.bytes_out += bytes_out
        self.finish()

    def downstream_full(self) -> None:
        """Back-pressure, downwards."""
        if self.upstream is not None:
            self.upstream.hold()

    def downstream_drained(self) -> None:
        """Back-pressure, over."""
        if self.upstream is not None:
            self.upstream.let()

    # -- endings

    def upstream_failed(self, error: ProxyError) -> None:
        """An attempt failed: another one, an answer of our own, or, in the middle of an answer, a visible break."""
        upstream = self.upstream
        self.upstream = None
        if self.over:
            return
        target = self.target
        pool = self.pool
        assert target is not None
        assert pool is not None
        self.failure = error
        if error.side == UPSTREAM and error.limit:
            self.services.reached(error.limit)
        # A target may close what was idle for long, at any moment, or announce its leave: that says nothing of its
        # health.
        stale = error.kind in UNDONE
        if not self.answered and error.kind in LOST:
            stale = upstream is not None and upstream.uses > 1
        if error.side == UPSTREAM and not stale:
            self.count_failure(target)
            outcome = OUTCOMES.get(error.kind)
            if outcome is not None:
                self.services.report(pool.name, target.name, outcome)
        if self.answered:
            self.downstream.abort()
            self.finish()
            return
        if self._may_retry(pool, error):
            if stale:
                self.doubtful = target.slot
            self._attempt_elsewhere(pool, target)
            return
        if stale:
            self.count_abort()
        self._answer(error)

    def request_failed(self, error: ProxyError) -> None:
        """The client's fault, in the middle of its request."""
        if self.over:
            return
        self.failure = error
        self._cancel()
        if self.answered:
            self.services.reached(error.limit)
            self.downstream.abort()
            self.finish()
        else:
            self._count_abort()
            self._answer(error)

    def cut_at(self, slot: int) -> None:
        """A target was removed by force: ends an attempt there, for which nobody is to blame."""
        if self.target is not None and int(self.target.slot) == slot and self.upstream is not None:
            self._cancel()
            self.upstream_failed(TARGET_REMOVED)

    def downstream_lost(self) -> None:
        """The client left: nobody's failure."""
        if self.over:
            return
        self._cancel()
        if not self.answered:
            self.status = CLIENT_LEFT
            self._count_abort()
        self.failure = client_failed("client_left", CLIENT_LEFT, "The client closed the connection.")
        self.finish()

    def _count_abort(self) -> None:
        """While it waits, its last attempt was counted already."""
        if self.room is None:
            self.count_abort()

    def _answer(self, error: ProxyError) -> None:
        """Answers for the balancer itself."""
        lookup = self.lookup
        if lookup is not None and error.status >= 500 and lookup.stands_in(self.services.clock()):
            self._release()
            lookup.serve_stored()
            return
        self.failure = error
        self.own = True
        self.status = error.status
        self.services.answered(error)
        self.bytes_out = self.downstream.send_own(error, retry_after(error))
        self.finish()

    def finish(self) -> None:
        """The single exit."""
        if self.over:
            return
        self.over = True
        if self.room is not None:
            self.room.leave(self)
            self.room = None
        self._release()
        if self.lookup is not None:
            self.lookup.finish()
        services = self.services
        services.requests += 1
        self.count_bytes()
        log = services.log
        if log is not None:
            self.log(log)
        self.held = None
        # What refers back to this exchange is let go of: the traceback's frames, and the cache's part.
        self.failure = None
        self.lookup = None
        self.downstream.exchange_over()


def too_many_tunnels() -> ProxyError:
    """There are as many as there may be."""
    return limited("tunnels", refused("too_many_tunnels", 503, "Too many tunnels are open."))
