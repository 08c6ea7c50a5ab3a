"""The attempts of a request: a target is picked, a connection to it is got, the request is sent; or another is tried.

Owns: the lease, who was tried, what of the request is kept for another attempt, and the wait for room.
Refuses to know: what happens before an attempt (exchange: routes, the cache) and to the answer.

    attempt { pick, taking a lease -> acquire a connection -> send }
"""

from typing import Final

from mypy_extensions import i64

from equipoise.errors import RETRY_ALWAYS, ProxyError, limited, refused
from equipoise.policy.retry import is_idempotent, may_retry
from equipoise.proxy.account import Account
from equipoise.proxy.services import Services
from equipoise.proxy.sides import Downstream, Upstream
from equipoise.state.connections import Reusable, Stack
from equipoise.state.ledger import RETRIES, Lease
from equipoise.state.snapshot import Pool, Target
from equipoise.state.waiting import WaitingRoom
from equipoise.wire.hpack_header import Header
from equipoise.wire.message import Request

# Failures by which a target says that it has done nothing (RFC 9113 6.8, 8.7): it may have the request once more, too.
UNDONE: Final = frozenset(("goaway", "refused_stream"))


class Attempts(Account):
    """What an exchange does until a target has its request."""

    def __init__(self, services: Services, downstream: Downstream, head: Request) -> None:
        super().__init__(services, downstream, head)
        # All attempts.
        self.tried: list[int] | None = None
        # Slot of a tried target whose reused connection was lost: it may only have closed what was idle for too long.
        self.doubtful: i64 = -1
        self.over = False
        # The attempt at hand.
        self.lease: Lease | None = None
        # Where it waits until a target has room.
        self.room: WaitingRoom | None = None
        self.upstream: Upstream | None = None
        # The request on its way up: its body until it need not be sent again, and what ends it.
        self.held: list[bytes] | None = None
        self.trailers: list[Header] | None = None
        # Of a WebSocket that comes by HTTP/2 and goes up by HTTP/1 (RFC 8441 5).
        self.key: bytes = b""
        self.whole = False
        self.replayable = True

    def _answer(self, error: ProxyError) -> None:
        """Answers for the balancer itself."""
        raise AssertionError

    # -- one attempt

    def _attempt(self, pool: Pool) -> None:
        """Finds a target for the request, or lets it wait for one."""
        # Before the cache had it looked for, a body may have been gathered, or another's answer been waited for.
        at_once = self.attempts == 0 and self.lookup is None
        now: i64 = self.began if at_once else self.services.clock()
        # Those who wait came first.
        if pool.waiting.size or not self._place(pool, now):
            self._wait(pool, now)

    def _place(self, pool: Pool, now: i64) -> bool:
        """Picks a target, reserves it, and gets a connection to it; false when all that could be picked are full."""
        loads = pool.loads
        loads.refresh(now)
        skip: list[int] | None = None
        if self.tried is not None:
            skip = [i for i, target in enumerate(pool.targets) if int(target.slot) in self.tried]
        try:
            index = pool.algorithm.pick(self.head, now, skip)
            if index < 0 and self.doubtful >= 0 and skip is not None:
                # No other target can take it: this one again, on a connection that is known to be open.
                index = pool.algorithm.pick(self.head, now, self._without_doubtful(pool, skip))
        except Exception as error:  # noqa: BLE001  (a user's algorithm may raise anything)
            self._answer(refused("algorithm_failed", 500, f"The algorithm failed: {type(error).__name__}."))
            return True
        if index < 0 or index >= loads.size:
            if loads.any_full(skip):
                return False
            failure = self.failure
            if failure is None:
                failure = refused("no_target", 503, f"No target of pool {pool.name} can take the request.")
            self._answer(failure)
            return True
        load = loads.total[index]
        lease = loads.take(index)
        if loads.limit[index] and loads.is_overfull(index, now):
            # Another worker took the last place at the same moment.
            lease.release()
            return False
        self.lease = lease
        self.load = load
        self.picked = now
        self._acquire(pool.targets[index])
        return True

    def _acquire(self, target: Target) -> None:
        """Gets a connection to the target that was picked."""
        self.target = target
        self.failed = False
        self.attempts += 1
        if target.scheme == "h2c" and self.downstream.tunnels():
            self._answer(refused("no_tunnel", 501, "The target speaks HTTP/2 only, and takes no WebSocket from here."))
            return
        connection = self._take(target)
        if connection is not None and not self._is_usable(connection):
            connection = self._next_usable(target)
        if connection is None:
            self.services.connector.connect(target, self)
        else:
            assert isinstance(connection, Upstream)
            self.connected(connection)

    def _wait(self, pool: Pool, now: i64) -> None:
        room = pool.waiting
        if not room.enter(self, now):
            detail = f"All targets of pool {pool.name} are at their limit, and {int(room.size)} requests wait already."
            self._answer(limited("queue_size", refused("queue_full", 503, detail)))
            return
        self.room = room
        self.services.watch(room)

    def try_again(self, now: i64) -> bool:
        """See `Waiter.try_again`."""
        pool = self.pool
        assert pool is not None
        room = self.room
        # It has left: an answer that follows must not take it out once more.
        self.room = None
        if self._place(self._as_it_is_now(pool), now):
            return True
        self.room = room
        return False

    def waited_in_vain(self) -> None:
        """See `Waiter.waited_in_vain`."""
        self.room = None
        late = refused("queue_timeout", 503, "No target had room for the request in time.")
        self._answer(limited("queue_timeout", late))

    def _as_it_is_now(self, pool: Pool) -> Pool:
        """Goes over to the pool of the newest snapshot, which may have changed since the last attempt."""
        current = self.services.world().pools.get(pool.name, pool)
        self.pool = current
        return current

    def _without_doubtful(self, pool: Pool, skip: list[int]) -> list[int]:
        slot = self.doubtful
        self.doubtful = -1
        return [i for i in skip if pool.targets[i].slot != slot]

    def _idle(self, target: Target) -> Stack:
        stack = target.idle
        if stack is None or stack.shut:
            stack = self.services.idle.stack(target.slot)
            target.idle = stack
        return stack

    def _take(self, target: Target) -> Reusable | None:
        """A connection that nobody uses, or a stream of one that many may use; a tunnel needs one for itself."""
        stack = self._idle(target)
        return stack.take() if self.head.upgrade is None or target.scheme == "h2c" else stack.take_alone()

    def _is_usable(self, connection: Reusable) -> bool:
        """A request that must not be sent again is not risked on a connection that the target has just closed."""
        return (self.attempts == 1 and is_idempotent(self.head.method)) or connection.is_open()

    def _next_usable(self, target: Target) -> Upstream | None:
        while True:
            connection = self._take(target)
            if connection is None:
                return None
            assert isinstance(connection, Upstream)
            if connection.is_open():
                return connection

    def connected(self, upstream: Upstream) -> None:
        """Sends the request, as much of it as is here."""
        if self.over:
            upstream.close()
            return
        self.upstream = upstream
        if not self.whole:
            # Before the request is sent: that may already be more than the target takes, and then this is undone.
            self.downstream.let()
        if self.lookup is not None:
            self.lookup.sent(self.services.clock())
        body = b"" if self.held is None else b"".join(self.held)
        trailers = self.trailers
        upstream.start(self, body, self.whole and trailers is None)
        if trailers is not None:
            upstream.send_trailers(trailers)
        if not self.replayable:
            self.held = None

    # -- and another one

    def _attempt_elsewhere(self, pool: Pool, target: Target) -> None:
        self.services.ledger.add(target.slot, RETRIES, 1)
        self._release()
        if self.tried is None:
            self.tried = []
        self.tried.append(int(target.slot))
        self._attempt(self._as_it_is_now(pool))

    def _try_elsewhere(self) -> bool:
        """A gRPC call came back as UNAVAILABLE, before anything of an answer: says whether another target gets it."""
        pool = self.pool
        target = self.target
        assert pool is not None
        assert target is not None
        self.count_failure(target)
        self.services.report(pool.name, target.name, "bad_status")
        left = self.replayable and self.whole and self.attempts < pool.attempts
        if not left or len(pool.targets) < 2 or not pool.budget.spend(self.services.clock()):
            return False
        self.upstream = None
        self.grpc_status = b""
        self._attempt_elsewhere(pool, target)
        return True

    def _may_retry(self, pool: Pool, error: ProxyError) -> bool:
        left = int(pool.attempts - self.attempts)
        if error.kind in UNDONE:
            return self.replayable and left > 0
        if error.retry == RETRY_ALWAYS:
            # There was no connection, so nothing of the body was let go, however large it is.
            return True
        if not self.replayable or not may_retry(error, self.head.method, left):
            return False
        return pool.budget.spend(self.services.clock())

    # -- its end

    def _cancel(self) -> None:
        upstream = self.upstream
        if upstream is not None:
            self.upstream = None
            upstream.cancel()

    def _release(self) -> None:
        lease = self.lease
        if lease is not None:
            self.lease = None
            lease.release()
            pool = self.pool
            if pool is not None and pool.waiting.size:
                self.services.wake(pool.waiting)
