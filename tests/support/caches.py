"""The cache's rules put together over a dictionary: what an exchange does with them, without the exchange.

Owns: the order in which the rules are asked.
Refuses to know: sockets, processes, eviction.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from equipoise.model import CacheSpec
from equipoise.policy import rfc9111, rfc9111_store
from equipoise.policy.cache_answers import Served, serve, serve_identical
from equipoise.policy.cache_request import CacheAnswer, CacheRequest
from equipoise.policy.cached import Cached, unpack, unpack_marker
from equipoise.policy.caching import BODY_TOO_LARGE, Rules
from equipoise.wire.field_lines import FieldPairs

NS = 1_000_000_000


@dataclass
class Reply:
    """What a target answers."""

    status: int = 200
    fields: FieldPairs = field(default_factory=list)
    body: bytes = b""
    framed: bool = True
    trailers: bool = False


@dataclass
class Got:
    """What a client got, and how: `hit`, `miss`, `bypass`, `validated`, `stale`, `unavailable`; the reason."""

    how: str
    reason: str
    status: int
    fields: FieldPairs
    body: bytes

    def one(self, name: bytes) -> bytes | None:
        values = [value for known, value in self.fields if known == name]
        return values[0] if len(values) == 1 else None


Target = Callable[[FieldPairs], Reply]


class DictCache:
    """One pool's cache; `now` is the unix clock in seconds."""

    def __init__(self, spec: CacheSpec) -> None:
        self.rules = Rules(spec, "p")
        self.stored: dict[bytes, tuple[float, bytes, bytes, bytes]] = {}
        self.now = 1_800_000_000.0
        self.asked = 0

    def ask(self, request: CacheRequest, target: Target, body: bytes = b"") -> Got:
        """Answers a request, from the dictionary or from the target."""
        why = self.rules.consider(request, len(body))
        if not why and len(body) > self.rules.max_body:
            why = BODY_TOO_LARGE
        if why:
            return self._passed(request, target, "bypass", why)
        key = self.rules.key(request, body)
        place = rfc9111_store.Place(key, [])
        found = self._get(key)
        names = unpack_marker(found[0]) if found else None
        if names is not None:
            place.names = names
            found = self._get(rfc9111_store.variant_key(key, names, request))
        cached = unpack(found[0]) if found else None
        stored = found[1] if found else b""
        if not self.rules.rfc9111:
            if cached is not None and cached.fresh_for(self._ns()) > 0:
                return self._served(serve_identical(request, cached, len(stored), self._ns()), stored, "hit", "")
            return self._fetched(request, target, place, request.fields)
        decision = rfc9111.decide(request, cached, self._ns())
        if decision.action == rfc9111.UNAVAILABLE:
            return Got("unavailable", decision.reason, 504, [], b"")
        if cached is None or decision.action == rfc9111.MISS:
            return self._fetched(request, target, place, request.fields)
        if decision.action == rfc9111.VALIDATE:
            return self._validated(request, target, place, (cached, stored))
        got = self._served(serve(request, cached, len(stored), self._ns()), stored, "hit", decision.reason)
        if decision.action == rfc9111.REFRESH:
            self._validated(request, target, place, (cached, stored))
        return got

    def _validated(
        self, request: CacheRequest, target: Target, place: rfc9111_store.Place, found: tuple[Cached, bytes]
    ) -> Got:
        cached, stored = found
        fields = [pair for pair in request.fields if pair[0] not in rfc9111.REPLACED]
        reply = self._reply(target, fields + rfc9111.validators(cached))
        if reply.status in rfc9111.ERRORS and rfc9111.may_use_on_error(request, cached, self._ns()):
            return self._served(serve(request, cached, len(stored), self._ns()), stored, "stale", "stale_if_error")
        if reply.status != 304:
            return self._taken(request, reply, place)
        answer = rfc9111.freshened(cached, self._answer(reply))
        if answer is None:
            return self._fetched(request, target, place, fields)
        why = self.rules.refuse(request, answer) or rfc9111_store.refuse(self.rules, request, answer)
        if why:
            fresh = rfc9111_store.cache(self.rules, request, answer, len(stored))
        else:
            kept = rfc9111_store.keep(self.rules, request, answer, len(stored), place)
            self._put(request, kept, stored)
            fresh = kept.cached
        return self._served(serve(request, fresh, len(stored), self._ns()), stored, "validated", why)

    def _fetched(self, request: CacheRequest, target: Target, place: rfc9111_store.Place, fields: FieldPairs) -> Got:
        return self._taken(request, self._reply(target, fields), place)

    def _taken(self, request: CacheRequest, reply: Reply, place: rfc9111_store.Place) -> Got:
        answer = self._answer(reply)
        why = self.rules.refuse(request, answer)
        if not why and self.rules.rfc9111:
            why = rfc9111_store.refuse(self.rules, request, answer)
        why = why or self.rules.refuse_end(request, answer, len(reply.body), reply.trailers)
        if not why:
            self._put(request, rfc9111_store.keep(self.rules, request, answer, len(reply.body), place), reply.body)
        return Got("miss", why, reply.status, reply.fields, reply.body)

    def _passed(self, request: CacheRequest, target: Target, how: str, why: str) -> Got:
        reply = self._reply(target, request.fields)
        if self.rules.rfc9111:
            for path in rfc9111.invalidated(request, self._answer(reply)):
                self.purge(path)
        return Got(how, why, reply.status, reply.fields, reply.body)

    def purge(self, path: bytes) -> None:
        self.stored = {key: entry for key, entry in self.stored.items() if entry[1] != path}

    def _get(self, key: bytes) -> tuple[bytes, bytes] | None:
        entry = self.stored.get(key)
        return None if entry is None or entry[0] <= self.now else (entry[2], entry[3])

    def _put(self, request: CacheRequest, kept: rfc9111_store.Kept, body: bytes) -> None:
        expires = self.now + kept.keep_for / NS
        self.stored[kept.key] = (expires, request.target, kept.head, body)
        if kept.marker_key:
            self.stored[kept.marker_key] = (expires, request.target, kept.marker, b"")

    def _reply(self, target: Target, fields: FieldPairs) -> Reply:
        self.asked += 1
        return target(fields)

    def _answer(self, reply: Reply) -> CacheAnswer:
        return CacheAnswer(reply.status, reply.fields, reply.framed, self._ns(), self._ns())

    def _served(self, served: Served, body: bytes, how: str, reason: str) -> Got:
        return Got(how, reason, served.status, served.fields(), body[served.start : served.end])

    def _ns(self) -> int:
        return int(self.now * NS)


def request(
    target: bytes = b"/", fields: FieldPairs | None = None, method: bytes = b"GET", host: bytes = b"example.org"
) -> CacheRequest:
    """A request over plain HTTP."""
    return CacheRequest(method, b"http", host, target, [(b"host", host), *(fields or [])])


def always(status: int = 200, fields: FieldPairs | None = None, body: bytes = b"") -> Target:
    """A target that answers the same each time."""
    return lambda _: Reply(status, list(fields or []), body)
