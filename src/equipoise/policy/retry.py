"""Whether a failed attempt may be made again at another target.

Owns: the rule, and the budget that keeps retries from multiplying the load of a pool that is failing.
Refuses to know: which target is next, what the failure looked like on the wire.

The rule. Nothing reached the target: always, until every target was tried. Something was sent and no byte of an answer
came back: only for methods that RFC 9110 9.2 calls safe or idempotent, within `attempts` and the budget, while the
body can be sent again. A byte of the answer went to the client: never.
"""

from typing import Final

from mypy_extensions import i64

from equipoise.errors import RETRY_ALWAYS, RETRY_IF_SAFE, ProxyError

# RFC 9110 9.2.2; QUERY is safe by RFC 10008.
IDEMPOTENT: Final = frozenset({b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE", b"QUERY"})
# Retries that a pool may make before any share of its requests has earned them, and earns back each second. One
# target's death takes a share of all requests in flight with it, all at once; linkerd's budget keeps a reserve of the
# same size.
RESERVE: Final = 100.0
RESERVE_PER_SECOND: Final = 10.0


class Budget:
    """Retries in proportion to requests, for one pool in one worker."""

    def __init__(self, share: float) -> None:
        """Starts full.

        Args:
            share: retries earned by each request; 0.2 allows one in five.
        """
        self.share = share
        self.tokens: float = RESERVE
        self.refilled: i64 = 0

    def earn(self) -> None:
        """One more request."""
        if self.tokens < RESERVE:
            self.tokens += self.share

    def spend(self, now: i64) -> bool:
        """Takes the price of one retry.

        Args:
            now: monotonic clock, nanoseconds.

        Returns:
            Whether it could be paid.
        """
        if self.refilled:
            elapsed = int(now - self.refilled) / 1e9
            self.tokens = min(RESERVE, self.tokens + elapsed * RESERVE_PER_SECOND)
        self.refilled = now
        if self.tokens < 1.0:
            return False
        self.tokens -= 1.0
        return True


def is_idempotent(method: bytes) -> bool:
    """Whether a request may be made twice without harm (RFC 9110 9.2.2)."""
    # Asked of every request; the method that nearly all have needs no hash.
    return method == b"GET" or method in IDEMPOTENT


def may_retry(error: ProxyError, method: bytes, attempts_left: int) -> bool:
    """The rule of this module's head, without the budget and the body, which the caller holds.

    Args:
        error: why the attempt failed.
        method: of the request.
        attempts_left: how many more the pool's setting allows.
    """
    if error.retry == RETRY_ALWAYS:
        return True
    return error.retry == RETRY_IF_SAFE and attempts_left > 0 and is_idempotent(method)
