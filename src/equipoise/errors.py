"""What can go wrong with an exchange: what it was, whose fault, whether another try is safe, which status says so.

Owns: the vocabulary of failures.
Refuses to know: how a failure is answered, logged or retried.
"""

from typing import Final

# Whose fault: the side of the balancer on which it happened.
DOWNSTREAM: Final = "downstream"
UPSTREAM: Final = "upstream"
SELF: Final = "self"

# Whether another target may be tried (DESIGN: retry).
RETRY_ALWAYS: Final = 2  # nothing reached the target
RETRY_IF_SAFE: Final = 1  # something was sent, no byte of a response came back
RETRY_NEVER: Final = 0


class ProxyError(Exception):
    """A failed exchange.

    Attributes:
        kind: short name of what happened, as the access log gives it.
        side: whose fault it is: `DOWNSTREAM`, `UPSTREAM` or `SELF`.
        retry: `RETRY_ALWAYS`, `RETRY_IF_SAFE` or `RETRY_NEVER`.
        status: the HTTP status that tells the client.
        detail: one sentence for the client and the log; never carries bytes from the other side of the balancer.
        limit: which limit it was that was reached, as `state.ledger.LIMITS` names it; empty when it was none.
    """

    def __init__(self, kind: str, side: str, retry: int, status: int, detail: str) -> None:
        super().__init__(kind, detail)
        self.kind = kind
        self.side = side
        self.retry = retry
        self.status = status
        self.detail = detail
        self.limit = ""


def malformed(detail: str, status: int = 400) -> ProxyError:
    """A message that RFC 9112 or RFC 9110 does not allow; on the upstream side the caller turns it into a 502."""
    return ProxyError("malformed", DOWNSTREAM, RETRY_NEVER, status, detail)


def oversized(limit: str, status: int, detail: str) -> ProxyError:
    """A message with a part that is larger than it may be."""
    return limited(limit, malformed(detail, status))


def limited(limit: str, error: ProxyError) -> ProxyError:
    """The same error, marked as due to a limit."""
    error.limit = limit
    return error


def upstream_failed(kind: str, retry: int, detail: str, status: int = 502) -> ProxyError:
    """A target that did not do its part."""
    return ProxyError(kind, UPSTREAM, retry, status, detail)


def refused(kind: str, status: int, detail: str) -> ProxyError:
    """The balancer itself will not carry this exchange (no target, over a limit)."""
    return ProxyError(kind, SELF, RETRY_NEVER, status, detail)


def client_failed(kind: str, status: int, detail: str) -> ProxyError:
    """A client that was too slow, sent too much, or left."""
    return ProxyError(kind, DOWNSTREAM, RETRY_NEVER, status, detail)


def body_too_large() -> ProxyError:
    """A request whose body is over the limit, by what its head says or by what has come of it."""
    return limited("request_body", client_failed("body_too_large", 413, "The request's body is larger than allowed."))


def head_too_slow() -> ProxyError:
    """A client whose request did not begin in time."""
    return limited("head_timeout", client_failed("head_timeout", 408, "The request's head did not arrive in time."))


def body_too_slow() -> ProxyError:
    """A client that stopped in the middle of its request."""
    return limited("body_timeout", client_failed("body_timeout", 408, "The request's body did not arrive in time."))
