"""Floods of cheap frames (RFC 9113 10.5): how many of each kind a peer may send before the connection is closed.

Owns: what counts, the budgets with their reasons, and the verdict.
Refuses to know: frames, streams, which clock `now` is of.

A budget is a bucket: it holds `burst` tokens at first and gets so many more a second, never more than `burst`. It is
kept as one number, the time at which it will be full again: each token taken moves that time on by what one token needs
to come back, and the budget is spent when it lies further ahead than a full bucket takes.
"""

from typing import Final

from mypy_extensions import i64

from equipoise.wire.http2_errors import ENHANCE_YOUR_CALM, connection_error

SECOND_NS: Final = 1_000_000_000

# Streams reset by the peer (CVE-2023-44487), and by us for what the peer did (CVE-2025-8671): each began a request at a
# target that nobody waits for. The burst lets a browser leave a page with all its 100 streams open, twice; the rate is
# nghttp2's. A stream that comes to its end gives a token back, so that a proxy with thousands of callers, of whom up to
# a half cancel, never gets here.
RESET_BURST: Final = 200
RESET_RATE: Final = 33
# Each SETTINGS is answered and may visit every stream. Peers send one or two; those of gRPC that tune their windows
# some ten.
SETTINGS_BURST: Final = 100
SETTINGS_RATE: Final = 10
# Each PING is answered. grpc-go sends one with every round trip that carries data, thousands a second on one machine.
# A second at this rate costs us what a hundred requests cost.
PING_BURST: Final = 2_000
PING_RATE: Final = 10_000
# DATA without a byte that ends nothing, and a header block without a byte: no peer has a reason (Envoy allows one in a
# row), some send a few.
EMPTY_BURST: Final = 100
EMPTY_RATE: Final = 10
# WINDOW_UPDATE: peers that read message by message send two for each DATA of ours, so each DATA that carries something
# gives two back. Windows that open byte by byte (CVE-2019-9511) have us send DATA that carries next to nothing.
UPDATE_BURST: Final = 10_000
UPDATE_RATE: Final = 10_000
LEAST_DATA: Final = 64
# PRIORITY and unknown types, which we drop; frames on streams that are gone. Firefox once sent six PRIORITY a
# connection, and one with each request.
IDLE_BURST: Final = 1_000
IDLE_RATE: Final = 1_000
# Answers (to PING, SETTINGS, or a RST_STREAM of ours) that wait in memory because the peer does not read. Envoy's
# number.
MAX_UNREAD: Final = 1_000


class FloodLimits:
    """Budgets, one value for all connections: what a token needs to come back, and a full bucket, in nanoseconds."""

    def __init__(self) -> None:
        self.reset_ns: i64 = SECOND_NS // RESET_RATE
        self.reset_full_ns: i64 = RESET_BURST * (SECOND_NS // RESET_RATE)
        self.settings_ns: i64 = SECOND_NS // SETTINGS_RATE
        self.settings_full_ns: i64 = SETTINGS_BURST * (SECOND_NS // SETTINGS_RATE)
        self.ping_ns: i64 = SECOND_NS // PING_RATE
        self.ping_full_ns: i64 = PING_BURST * (SECOND_NS // PING_RATE)
        self.empty_ns: i64 = SECOND_NS // EMPTY_RATE
        self.empty_full_ns: i64 = EMPTY_BURST * (SECOND_NS // EMPTY_RATE)
        self.update_ns: i64 = SECOND_NS // UPDATE_RATE
        self.update_full_ns: i64 = UPDATE_BURST * (SECOND_NS // UPDATE_RATE)
        self.idle_ns: i64 = SECOND_NS // IDLE_RATE
        self.idle_full_ns: i64 = IDLE_BURST * (SECOND_NS // IDLE_RATE)
        self.max_unread: i64 = MAX_UNREAD

    def allow_resets(self, burst: i64, rate: i64) -> None:
        """Sets the budget of resets, the one that a busy proxy in front of us may need larger.

        Args:
            burst: tokens at first, at least 1.
            rate: tokens a second, at least 1.
        """
        self.reset_ns = SECOND_NS // rate
        self.reset_full_ns = burst * self.reset_ns


class FloodGuard:
    """The budgets of one connection.

    `now` is nanoseconds, from 0 up, of a clock that never goes back; one reading for all frames that came together is
    exact enough. Every method that takes it raises `Http2Error` when the budget is spent: a connection
    error ENHANCE_YOUR_CALM.
    """

    def __init__(self, limits: FloodLimits) -> None:
        self.limits = limits
        # When each budget is full again; all are from the beginning.
        self._reset: i64 = 0
        self._settings: i64 = 0
        self._ping: i64 = 0
        self._empty: i64 = 0
        self._update: i64 = 0
        self._idle: i64 = 0
        self._unread: i64 = 0
        self._reading = True

    # -- what the peer sent

    def reset(self, now: i64) -> None:
        """A RST_STREAM received, or one sent for something that the peer did (an error, not a refusal of ours)."""
        limits = self.limits
        self._reset = spend(self._reset, limits.reset_ns, limits.reset_full_ns, now, "too many streams reset")

    def settings(self, now: i64) -> None:
        """A SETTINGS, acknowledgements included."""
        limits = self.limits
        self._settings = spend(self._settings, limits.settings_ns, limits.settings_full_ns, now, "too many SETTINGS")

    def ping(self, now: i64) -> None:
        """A PING, acknowledgements included."""
        limits = self.limits
        self._ping = spend(self._ping, limits.ping_ns, limits.ping_full_ns, now, "too many PING")

    def empty(self, now: i64) -> None:
        """DATA without a byte of content that does not end its stream, or a header block of no byte."""
        limits = self.limits
        self._empty = spend(self._empty, limits.empty_ns, limits.empty_full_ns, now, "too many empty frames")

    def window_update(self, now: i64) -> None:
        """A WINDOW_UPDATE, of a stream or of the connection."""
        limits = self.limits
        self._update = spend(self._update, limits.update_ns, limits.update_full_ns, now, "too many WINDOW_UPDATE")

    def idle(self, now: i64) -> None:
        """A frame that changes nothing: PRIORITY, an unknown type, one on a stream that is gone."""
        limits = self.limits
        self._idle = spend(self._idle, limits.idle_ns, limits.idle_full_ns, now, "too many frames of no use")

    # -- what shows that it is not an attack

    def finished(self) -> None:
        """A stream came to its end in both directions; earns a reset."""
        self._reset -= self.limits.reset_ns

    def sent(self, size: i64) -> None:
        """A DATA of `size` bytes was sent; earns its stream's WINDOW_UPDATE and the connection's."""
        if size >= LEAST_DATA:
            self._update -= 2 * self.limits.update_ns

    # -- what it does not read

    def answered(self) -> None:
        """A frame was written that the peer can have us write at will: an acknowledgement, a RST_STREAM.

        Raises:
            Http2Error: it reads none of them; a connection error ENHANCE_YOUR_CALM.
        """
        if self._reading:
            return
        self._unread += 1
        if self._unread > self.limits.max_unread:
            raise connection_error(ENHANCE_YOUR_CALM, "answers pile up unread")

    def reading(self, resumed: bool) -> None:
        """Takes the transport's word on whether the peer reads: false at `pause_writing`, true at `resume_writing`."""
        self._reading = resumed
        if resumed:
            self._unread = 0


def spend(full: i64, token: i64, bucket: i64, now: i64, detail: str) -> i64:
    """Takes a token.

    Args:
        full: when the budget would be full again.
        token: what a token needs to come back.
        bucket: what all of them need.
        now: the time.
        detail: what to say when there is none.

    Returns:
        When the budget will be full again.

    Raises:
        Http2Error: there is none.
    """
    # What was earned beyond a full bucket is lost: it must not pay for a flood to come.
    after = max(full, now) + token
    if after - now > bucket:
        raise connection_error(ENHANCE_YOUR_CALM, detail)
    return after
