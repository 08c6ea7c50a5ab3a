"""The cache's part in one exchange: before a target is asked, and while its answer passes.

Owns: the order in which the rules, the store and the flights are asked, and the answer while it is gathered.
Refuses to know: the rules themselves (policy), where entries are kept (state), protocols, and targets.

    consider -> key -> look -> hit: answer | miss: lead, follow or go alone -> ask a target -> gather -> store

A stored answer that may be used again only when its target says so goes up as a conditional request; what comes back is
told here before the client hears of it.
"""

from typing import Final

from mypy_extensions import i64

from equipoise.policy import rfc9111, rfc9111_store
from equipoise.policy.cache_answers import Served, forwarded_status, serve, serve_identical
from equipoise.policy.cache_request import PARTIAL, CacheAnswer, CacheRequest
from equipoise.policy.cached import Cached, pack_marker, unpack, unpack_marker
from equipoise.policy.caching import BODY_TOO_LARGE, METHOD, PARTIAL_ANSWER, TOO_LARGE
from equipoise.proxy.services import Services
from equipoise.proxy.sides import Relay
from equipoise.state.cache_flights import Follower
from equipoise.state.cache_port import CachePort
from equipoise.state.cache_record import Entry
from equipoise.state.cache_store import FAILED, FOLLOW, LEAD, READY, STORED, UNSHARED
from equipoise.wire.field_lines import FieldPairs, read_pairs
from equipoise.wire.hpack_header import Header, header
from equipoise.wire.http1 import RequestHead, ResponseHead
from equipoise.wire.message import Request, Response, request_lines

# Why the cache is left out, beside the reasons of the rules: the client waits for a word before it sends its body.
EXPECT: Final = "expect"
# It names no host, so that the target hears the address that the client connected to.
NO_HOST: Final = "no_host"
# How long nobody waits for a key whose answer turned out not to be for others.
PASS_NS: Final = 1_000_000_000
# Between two looks at the flights of other workers.
POLL_SECONDS: Final = 0.002

# What becomes of an answer's head.
PASS: Final = 0  # it goes to the client
USE_STORED: Final = 1  # the client gets what is stored, and the answer ends here
ASK_AGAIN: Final = 2  # it is about something else than was asked: the request goes up once more, as the client made it

# Begins a name in a marker that only tells older variants from younger ones.
GENERATION: Final = b"equipoise-generation-"
NO_PAIRS: Final[FieldPairs] = []


class Lookup(Follower):
    """One request and the cache of its pool.

    Attributes:
        how: for the access log: hit, miss, bypass.
        reason: why, in a word; empty when there is nothing to say.
        mark: value of Cache-Status for an answer that comes from a target.
        gathers: whether the request's body has to be whole before a target is asked.
        stores: whether the answer is being gathered.
        conditions: fields that make the request conditional; the client's own of these names give way.
    """

    def __init__(self, port: CachePort, services: Services, relay: Relay) -> None:
        self.how = "miss"
        self.reason = ""
        self.mark: bytes = b""
        self.gathers = False
        self.stores = False
        self.conditions: FieldPairs = NO_PAIRS
        self._port = port
        self._rules = port.rules
        self._services = services
        self._relay = relay
        self._request: CacheRequest | None = None
        self._key: bytes = b""
        # The key under which its answer would be: that, or its variant's. And the one whose fetch it leads, or waits
        # for.
        self._spot: bytes = b""
        self._flight: bytes = b""
        self._place: rfc9111_store.Place | None = None
        # What is stored, when it may be used under conditions.
        self._cached: Cached | None = None
        self._body: bytes = b""
        self._seen: i64 = 0
        self._forward: bytes = b"miss"
        # The fetch: when it was asked for by the monotonic clock, whether others wait for it, and the answer so far.
        self._asked: i64 = 0
        self._begun: i64 = 0
        self._leads = False
        self._follows = False
        self._counts = True
        self._answer: CacheAnswer | None = None
        self._pieces: list[bytes] = []
        self._size: i64 = 0

    # -- before a target is asked

    def begin(self, scheme: bytes, length: i64) -> None:
        """Looks over the request.

        Calls `Relay.stored` or `Relay.ask_target`, at once or later; with `gathers`, `body_is_whole` has to follow.

        Args:
            scheme: of the client's connection.
            length: bytes of the request's body; 0 when there is none, -1 when nobody knows yet.
        """
        head = self._relay.head
        request = self._rules.request(head.method, scheme, head.host or b"", head.target, as_sent(head))
        self._request = request
        why = self._rules.consider(request, length)
        if not why and head.host is None:
            why = NO_HOST
        if not why and length and expects(head):
            why = EXPECT
        if why:
            self.leave_out(why)
        elif length:
            self.gathers = True
        else:
            self._find(b"")

    def body_grew(self, size: i64) -> None:
        """More of the request's body has come; asks a target when it is too much to be gathered.

        Args:
            size: bytes of it so far.
        """
        if size > self._rules.max_body:
            self.leave_out(BODY_TOO_LARGE)

    def body_is_whole(self, body: bytes) -> None:
        """The request's body is gathered."""
        self.gathers = False
        self._find(body)

    def leave_out(self, why: str) -> None:
        """Asks a target, and keeps nothing of its answer.

        Args:
            why: in a word.
        """
        self.gathers = False
        self.how = "bypass"
        self.reason = why
        self._forward = b"bypass"
        self._relay.ask_target()

    def _find(self, body: bytes) -> None:
        request = self._request
        assert request is not None
        self._key = self._rules.key(request, body)
        self._place = rfc9111_store.Place(self._key, [])
        if not self._is_answered(request):
            self._enter()

    def _is_answered(self, request: CacheRequest) -> bool:
        """Answers from the store, if that may be done now."""
        now: i64 = self._services.clock()
        entry = self._entry(request, now)
        cached = None if entry is None else unpacked(entry)
        if cached is None or entry is None:
            self._cached = None
            self._seen = 0
            if self._rules.rfc9111:
                return self._decide(request, None, self._services.wall(now))
            return False
        wall = cached.at(now)
        self._seen = entry.stored_ns
        self._body = entry.body
        if self._rules.rfc9111:
            return self._decide(request, cached, wall)
        if cached.fresh_for(wall) <= 0:
            return False
        self._serve(serve_identical(request, cached, len(entry.body), wall), "hit", "")
        return True

    def _entry(self, request: CacheRequest, now: i64) -> Entry | None:
        """What is stored for the request: under its key, or, where answers vary, under the key of its variant."""
        store = self._port.store
        self._spot = self._key
        entry = store.get(self._key, now)
        names = None if entry is None else unpack_marker(entry.head)
        if names is None:
            return entry
        place = self._place
        assert place is not None
        place.names = names
        self._spot = rfc9111_store.variant_key(self._key, names, request)
        return store.get(self._spot, now)

    def _decide(self, request: CacheRequest, cached: Cached | None, wall: i64) -> bool:
        """What RFC 9111 says of it; true when the client is answered."""
        decision = rfc9111.decide(request, cached, wall)
        self.reason = decision.reason
        self._forward = decision.forward
        self._cached = None
        self.conditions = NO_PAIRS
        if decision.action == rfc9111.UNAVAILABLE:
            self._relay.not_stored()
            return True
        if cached is None:
            return False
        if decision.action == rfc9111.MISS or decision.action == rfc9111.VALIDATE:
            # Without a validator it can still stand in for a target that fails.
            self._cached = cached
            if decision.action == rfc9111.VALIDATE:
                self.conditions = rfc9111.validators(cached)
            return False
        served = serve(request, cached, len(self._body), wall)
        if decision.action == rfc9111.REFRESH:
            self._refresh(cached)
        self._serve(served, "hit", decision.reason)
        return True

    def _serve(self, served: Served, how: str, reason: str) -> None:
        self.how = how
        self.reason = reason
        head = ResponseHead(0, 0)
        head.status = served.status
        head.keep = [served.head]
        head.content_length = served.end - served.start
        body = self._body
        whole = served.start == 0 and served.end == len(body)
        self._relay.stored(head, body if whole else body[served.start : served.end])

    # -- one fetch for many

    def _enter(self) -> None:
        """Nothing that may be used is stored: fetches it, or waits for the one who does."""
        if not self._is_worth_waiting_for():
            self._relay.ask_target()
            return
        now: i64 = self._services.clock()
        patience = self._services.world().limits.response_ns
        self._flight = self._spot
        verdict = self._port.flights.enter(self._flight, self, now, now + patience, self._seen)
        if verdict == FOLLOW:
            self._follows = True
            self._watch()
        else:
            self._go(verdict, now)

    def _is_worth_waiting_for(self) -> bool:
        """Whether the answer may be one to store; for what cannot be nobody waits, nor hears that it was not."""
        request = self._request
        assert request is not None
        if not self._rules.rfc9111 or self.conditions:
            return True
        if request.method == b"HEAD":
            self.reason = METHOD
        elif request.noted & PARTIAL != 0:
            # Even a whole answer may be what the target makes of a range that it does not understand.
            self.reason = PARTIAL_ANSWER
        else:
            return True
        return False

    def flight_over(self, verdict: i64, now: i64) -> None:
        """See `Follower.flight_over`."""
        self._follows = False
        self._go(verdict, now)

    def _go(self, verdict: i64, now: i64) -> None:
        request = self._request
        assert request is not None
        if verdict == READY:
            if self._is_answered(request):
                return
            if self._spot != self._flight:
                # The answers turned out to vary: what was waited for was another variant.
                self._enter()
                return
        self._leads = verdict == LEAD
        self._begun = now
        self.stores = True
        self._relay.ask_target()

    def _watch(self) -> None:
        """Sees to it that somebody looks at the flights of other workers while there are any."""
        port = self._port
        if not port.watched and port.flights.is_watching():
            port.watched = True
            self._services.later(POLL_SECONDS, lambda: self._poll(port))

    def _poll(self, port: CachePort) -> None:
        port.watched = False
        port.flights.poll(self._services.clock())
        self._watch()

    # -- a refresh behind the client's back

    def _refresh(self, cached: Cached) -> None:
        """Has what is stored validated, unless somebody does so already."""
        relay = self._relay.twin()
        twin = Lookup(self._port, self._services, relay)
        twin._request = self._request
        twin._key = self._key
        twin._spot = self._spot
        twin._place = self._place
        twin._cached = cached
        twin._body = self._body
        twin._seen = self._seen
        twin._counts = False
        twin.conditions = rfc9111.validators(cached)
        relay.revalidate(twin)

    def ask_alone(self) -> bool:
        """For a refresh: whether nobody else fetches it; then it is fetched."""
        now: i64 = self._services.clock()
        patience = self._services.world().limits.response_ns
        self._flight = self._spot
        if self._port.flights.enter(self._flight, self, now, now + patience, self._seen) == LEAD:
            self._go(LEAD, now)
            return True
        self._port.flights.leave(self._flight, self)
        return False

    # -- the answer

    def sent(self, now: i64) -> None:
        """The request goes to a target."""
        self._asked = now

    def answered(self, head: Response) -> i64:
        """A final answer's head came from a target.

        Returns:
            PASS, and `stores` says whether `gather` has to be called; USE_STORED, and `serve_stored` has to be; or
            ASK_AGAIN.
        """
        request = self._request
        assert request is not None
        now: i64 = self._services.clock()
        framed = request.method == b"HEAD" or is_framed(head)
        wall = self._services.wall(now)
        # How long it took does not depend on a wall clock that was set meanwhile.
        answer = CacheAnswer(head.status, pairs_of(head), framed, wall - (now - self._asked), wall)
        answer.answered_steady = now
        cached = self._cached
        if cached is not None:
            verdict = self._settle(request, cached, answer)
            if verdict != PASS:
                return verdict
        self._answer = answer
        if self._rules.rfc9111:
            for target in rfc9111.invalidated(request, answer):
                self._invalidate(request, target, now)
        if self.stores:
            why = self._rules.refuse(request, answer)
            if not why and self._rules.rfc9111:
                why = rfc9111_store.refuse(self._rules, request, answer)
            if why:
                # Those who wait for a target that fails do not all run at it: the next one asks.
                self._give_up(why, FAILED if answer.status in rfc9111.ERRORS else UNSHARED)
        self.mark = forwarded_status(self._forward, 0, self.stores, self.reason)
        return PASS

    def _settle(self, request: CacheRequest, cached: Cached, answer: CacheAnswer) -> i64:
        """What an answer says of what is stored: that it is what the client gets, or that it is of no use."""
        if answer.status in rfc9111.ERRORS:
            return USE_STORED if rfc9111.may_use_on_error(request, cached, cached.at(answer.answered_steady)) else PASS
        # A 304 to no condition of ours is the client's.
        if answer.status != 304 or not self.conditions:
            self._cached = None
            return PASS
        fresh = rfc9111.freshened(cached, answer)
        if fresh is None:
            # It speaks of something else: what is stored is of no use.
            self._cached = None
            self.conditions = NO_PAIRS
            return ASK_AGAIN
        place = self._place
        assert place is not None
        size: i64 = len(self._body)
        why = self._rules.refuse(request, fresh) or rfc9111_store.refuse(self._rules, request, fresh)
        if why:
            self._cached = rfc9111_store.cache(self._rules, request, fresh, size)
            self._end(UNSHARED)
        else:
            kept = rfc9111_store.keep(self._rules, request, fresh, size, place)
            self._cached = kept.cached
            self._put(request, kept, self._body)
        self.reason = "validated"
        return USE_STORED

    def stands_in(self, now: i64) -> bool:
        """Whether what is stored may be given for a target that failed (RFC 5861 4)."""
        cached = self._cached
        request = self._request
        if cached is None or request is None:
            return False
        return rfc9111.may_use_on_error(request, cached, cached.at(now))

    def serve_stored(self) -> None:
        """Answers with what is stored, after a target was asked about it."""
        cached = self._cached
        request = self._request
        assert cached is not None
        assert request is not None
        validated = self.reason == "validated"
        if not validated:
            self._end(FAILED)
        wall = cached.at(self._services.clock())
        self._cached = None
        reason = "validated" if validated else "stale_if_error"
        self._serve(serve(request, cached, len(self._body), wall), "hit", reason)

    def gather(self, data: bytes) -> None:
        """Keeps a piece of the answer's body."""
        self._size += len(data)
        if self._size > self._rules.max_body:
            self._give_up(TOO_LARGE, UNSHARED)
        elif data:
            self._pieces.append(data)

    def whole(self, trailers: bool) -> None:
        """The answer is whole: stores it, before the client can ask for it again."""
        request = self._request
        answer = self._answer
        place = self._place
        if request is None or answer is None or place is None or not self.stores:
            return
        why = self._rules.refuse_end(request, answer, self._size, trailers)
        if why:
            self._give_up(why, UNSHARED)
            return
        body = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._put(request, rfc9111_store.keep(self._rules, request, answer, len(body), place), body)

    def _put(self, request: CacheRequest, kept: rfc9111_store.Kept, body: bytes) -> None:
        now: i64 = self._services.clock()
        expires = now + kept.keep_for
        store = self._port.store
        stored = store.put(kept.key, Entry(request.target, kept.head, body, now, expires), self._begun)
        if stored and kept.marker_key:
            store.put(kept.marker_key, Entry(request.target, kept.marker, b"", now, expires), self._begun)
        self.stores = False
        self._end(STORED if stored else UNSHARED)

    def _give_up(self, why: str, outcome: i64) -> None:
        """The answer is not stored; what becomes of those who wait for it, `outcome` says."""
        self.stores = False
        self._pieces = []
        self.reason = why
        self._end(outcome)

    def _invalidate(self, request: CacheRequest, target: bytes, now: i64) -> None:
        """Forgets what is stored for a target that may have been written (RFC 9111 4.4).

        Where answers vary nobody knows all their keys: the marker gets one more name, which no request has, so that
        all variants have other keys from now on.
        """
        plain = CacheRequest(b"GET", request.scheme, request.host, target, NO_PAIRS)
        if self._rules.consider(plain, 0):
            return
        key = self._rules.key(plain, b"")
        store = self._port.store
        entry = store.get(key, now)
        names = None if entry is None else unpack_marker(entry.head)
        if entry is None or names is None:
            store.delete(key)
            return
        kept = [name for name in names if not name.startswith(GENERATION)]
        kept.append(GENERATION + b"%d" % int(now))
        store.put(key, Entry(target, pack_marker(sorted(kept)), b"", now, entry.expires_ns), now)

    def _end(self, outcome: i64) -> None:
        if self._leads:
            self._leads = False
            now: i64 = self._services.clock()
            self._port.flights.end(self._flight, self._begun, outcome, now, now + PASS_NS)

    def finish(self) -> None:
        """The exchange is over, whatever came of it."""
        if self._follows:
            self._follows = False
            self._port.flights.leave(self._flight, self)
        self._end(FAILED)
        if self._counts and self.how != "bypass":
            self._port.store.count(self.how == "hit")

    # -- the conditional request

    def condition_lines(self, lines: list[bytes]) -> list[bytes]:
        """A request's line and fields, made conditional."""
        kept = [
            line + b"\r\n"
            for line in b"".join(lines).split(b"\r\n")
            if line and line.partition(b":")[0].lower() not in rfc9111.REPLACED
        ]
        kept.extend([b"%b: %b\r\n" % pair for pair in self.conditions])
        return kept

    def condition_fields(self, fields: list[Header]) -> list[Header]:
        """The same for HTTP/2."""
        kept = [field for field in fields if field.name not in rfc9111.REPLACED]
        kept.extend([header(name, value) for name, value in self.conditions])
        return kept


def unpacked(entry: Entry) -> Cached | None:
    """What an entry says; kept with it, as it may be remembered."""
    decoded = entry.decoded
    if isinstance(decoded, Cached):
        return decoded
    cached = unpack(entry.head)
    entry.decoded = cached
    return cached


def as_sent(head: Request) -> bytes:
    """Request line and fields as the client sent them, with those that are rewritten on the way to a target."""
    lines = list(head.keep) if isinstance(head, RequestHead) else request_lines(head, True)
    if head.via is not None:
        lines.append(b"Via: " + head.via + b"\r\n")
    if head.forwarded_for is not None:
        lines.append(b"X-Forwarded-For: " + head.forwarded_for + b"\r\n")
    return lines[0] if len(lines) == 1 else b"".join(lines)


def expects(head: Request) -> bool:
    """Whether the client waits for 100 (Continue) before it sends its body (RFC 9110 10.1.1)."""
    return head.expect_continue if isinstance(head, RequestHead) else head.expect is not None


def pairs_of(head: Response) -> FieldPairs:
    """An answer's fields."""
    if isinstance(head, ResponseHead):
        return read_pairs(b"".join(head.keep), True)
    return [(field.name, field.value) for field in head.fields if field.name != b":status"]


def is_framed(head: Response) -> bool:
    """Whether the end of the body can be told from a lost connection."""
    return not isinstance(head, ResponseHead) or head.chunked or head.content_length >= 0 or head.status == 204
