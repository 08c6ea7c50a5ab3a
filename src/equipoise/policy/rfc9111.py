"""Which stored answer may be used, by HTTP's own rules (RFC 9111 4, RFC 5861).

Owns: the decision for one request and what is stored for it, validation, and what a write invalidates.
Refuses to know: what may be stored and for how long (`rfc9111_store`), how an answer is put together, the storage.

Times are nanoseconds of the unix clock.
"""

from typing import Final
from urllib.parse import urljoin, urlsplit

from mypy_extensions import i64

from equipoise.policy.cache_request import CacheAnswer, CacheRequest
from equipoise.policy.cached import MUST_REVALIDATE, NEVER, NO_CACHE, NS, SHARED_AGE, VALIDATED, Cached
from equipoise.wire import cache_control
from equipoise.wire.cache_control import ABSENT, Directives
from equipoise.wire.field_lines import FieldPairs
from equipoise.wire.validators import is_entity_tag, same_weakly

MISS: Final = 0  # ask a target, as the client asked
HIT: Final = 1  # use what is stored
REFRESH: Final = 2  # use what is stored, and validate it behind the client's back
VALIDATE: Final = 3  # ask a target whether what is stored is still good
UNAVAILABLE: Final = 4  # 504: the client takes a stored answer or none

# Fields of a client's request that a validation of ours replaces.
REPLACED: Final = frozenset((b"if-none-match", b"if-modified-since", b"if-range", b"range"))
# Fields that a 304 does not bring up to date: they describe the stored body (RFC 9111 3.2), or would store what is not
# stored otherwise.
NOT_UPDATED: Final = frozenset(
    (
        b"content-encoding",
        b"content-length",
        b"content-range",
        b"content-type",
        b"set-cookie",
        b"transfer-encoding",
    )
)
# RFC 9110 9.2.1, RFC 10008. What is not known to be safe may have written.
SAFE: Final = frozenset((b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"QUERY"))
# RFC 5861 4.
ERRORS: Final = frozenset((500, 502, 503, 504))


class Decision:
    """What becomes of a request.

    Attributes:
        action: `MISS`, `HIT`, `REFRESH`, `VALIDATE` or `UNAVAILABLE`.
        reason: in a word, for the access log.
        forward: why it goes on to a target, as Cache-Status says it (RFC 9211 2.2); empty when it does not.
    """

    def __init__(self, action: i64, reason: str, forward: bytes) -> None:
        self.action = action
        self.reason = reason
        self.forward = forward


FRESH: Final = Decision(HIT, "fresh", b"")
STALE_ALLOWED: Final = Decision(HIT, "stale_allowed", b"")
STALE_REFRESHED: Final = Decision(REFRESH, "stale_while_revalidate", b"")
NOTHING_STORED: Final = Decision(MISS, "absent", b"uri-miss")
ALWAYS_VALIDATED: Final = Decision(VALIDATE, "no_cache", b"stale")
STALE_VALIDATED: Final = Decision(VALIDATE, "stale", b"stale")
REQUEST_VALIDATED: Final = Decision(VALIDATE, "request", b"request")
STALE_MISSED: Final = Decision(MISS, "stale", b"stale")
REQUEST_MISSED: Final = Decision(MISS, "request", b"request")
ONLY_IF_CACHED: Final = Decision(UNAVAILABLE, "only_if_cached", b"")


def decide(request: CacheRequest, cached: Cached | None, now: i64) -> Decision:
    """What becomes of a request that may be answered from the cache (RFC 9111 4, 5.2.1).

    Args:
        request: after `Rules.consider`.
        cached: what is stored under its key, and under that of its variant when there are several; none for nothing.
        now: unix clock.
    """
    directives = request.directives
    if directives is None:
        if cached is None:
            return NOTHING_STORED
        if cached.flags & NO_CACHE == 0 and cached.fresh_for(now) > 0:
            return FRESH
        return _stale(None, cached, now)
    found = NOTHING_STORED if cached is None else _asked(directives, cached, now)
    alone = directives.flags & cache_control.ONLY_IF_CACHED != 0
    if alone and found.action != HIT and found.action != REFRESH:
        return ONLY_IF_CACHED
    return found


def _asked(directives: Directives, cached: Cached, now: i64) -> Decision:
    """What the client's own directives allow."""
    left = cached.fresh_for(now)
    age = cached.age(now)
    unwanted = (
        directives.flags & cache_control.NO_CACHE != 0
        or (directives.max_age != ABSENT and age > directives.max_age * NS)
        or (directives.min_fresh != ABSENT and left < directives.min_fresh * NS)
    )
    if unwanted:
        return REQUEST_VALIDATED if cached.flags & VALIDATED != 0 else REQUEST_MISSED
    if cached.flags & NO_CACHE == 0 and left > 0:
        return FRESH
    return _stale(directives, cached, now)


def _stale(directives: Directives | None, cached: Cached, now: i64) -> Decision:
    """What is not fresh, or must always be validated.

    RFC 9111 4.2.4 lets s-maxage forbid the use of what is stale. An answer that says stale-while-revalidate beside it
    says what it wants, and is obeyed, as by the caches for which RFC 5861 was written.
    """
    over = -cached.fresh_for(now)
    flags = cached.flags
    if flags & (NO_CACHE | MUST_REVALIDATE) == 0:
        by_client = directives is not None and directives.max_stale != ABSENT and flags & SHARED_AGE == 0
        if by_client and directives is not None and over <= directives.max_stale * NS:
            return STALE_ALLOWED
        if cached.while_revalidate != NEVER and over <= cached.while_revalidate:
            return STALE_REFRESHED
    if flags & VALIDATED == 0:
        return STALE_MISSED
    return ALWAYS_VALIDATED if over < 0 else STALE_VALIDATED


def may_use_on_error(request: CacheRequest, cached: Cached, now: i64) -> bool:
    """Whether a stale answer may stand in for a target that failed or answered one of `ERRORS` (RFC 5861 4).

    Args:
        request: after `Rules.consider`.
        cached: what is stored for it.
        now: unix clock.
    """
    if cached.flags & (NO_CACHE | MUST_REVALIDATE) != 0:
        return False
    over = -cached.fresh_for(now)
    if cached.if_error != NEVER and over <= cached.if_error:
        return True
    directives = request.directives
    if directives is None or directives.stale_if_error == ABSENT or cached.flags & SHARED_AGE != 0:
        return False
    return over <= directives.stale_if_error * NS


# -- validation


def validators(cached: Cached) -> FieldPairs:
    """The fields of a conditional request for what is stored (RFC 9111 4.3.1); the client's `REPLACED` give way.

    Only for an answer with `VALIDATED`.
    """
    fields: FieldPairs = []
    tag = cached.find(b"etag")
    if tag is not None and is_entity_tag(tag):
        fields.append((b"if-none-match", tag))
    modified = cached.find(b"last-modified")
    if modified is not None:
        fields.append((b"if-modified-since", modified))
    return fields


def freshened(cached: Cached, answer: CacheAnswer) -> CacheAnswer | None:
    """The stored answer, brought up to date by the 304 that `validators` led to (RFC 9111 4.3.4, 3.2).

    The result is like an answer that has just come: `Rules.refuse` and `rfc9111_store` judge it anew.

    Args:
        cached: what is stored.
        answer: the 304.

    Returns:
        None when the 304 speaks of something else, or of other variants: then the client's request is made anew
        without conditions of ours.
    """
    if not _same(cached, answer):
        return None
    new = [pair for pair in answer.fields if pair[0] not in NOT_UPDATED]
    replaced = {pair[0] for pair in new}
    # The age has begun anew, with the 304, even if that says of neither (RFC 9110 6.6.1).
    replaced.add(b"age")
    replaced.add(b"date")
    merged = [pair for pair in cached.fields() if pair[0] not in replaced]
    merged.extend(new)
    fresh = CacheAnswer(cached.status, merged, True, answer.asked, answer.answered)
    fresh.answered_steady = answer.answered_steady
    return fresh


def _same(cached: Cached, answer: CacheAnswer) -> bool:
    if answer.has(b"vary") and answer.one(b"vary") != cached.find(b"vary"):
        return False
    new = answer.one(b"etag")
    old = cached.find(b"etag")
    if answer.has(b"etag"):
        if new is None or old is None or not is_entity_tag(new):
            return False
        return same_weakly(new, old)
    if answer.has(b"last-modified") and old is None:
        return answer.one(b"last-modified") == cached.find(b"last-modified")
    # It names no validator; the request named but one answer.
    return True


# -- invalidation


def invalidated(request: CacheRequest, answer: CacheAnswer) -> list[bytes]:
    """What is no longer to be used after a request that may have written (RFC 9111 4.4).

    Args:
        request: any; only its method, scheme, host and target are looked at.
        answer: to it.

    Returns:
        Targets (path with query) at the request's host, each once; nothing after a safe method or an error.
    """
    if request.method in SAFE or not 200 <= answer.status <= 399:
        return []
    found = [request.target]
    for name in (b"location", b"content-location"):
        value = answer.one(name)
        target = None if value is None else _same_origin(request, value)
        if target is not None and target not in found:
            found.append(target)
    return found


def _same_origin(request: CacheRequest, reference: bytes) -> bytes | None:
    """The target that a URI reference names; none when it is at another origin, or is no reference.

    4.4 forbids to invalidate what another origin has: it could be done to it from here.
    """
    origin = b"%b://%b" % (request.scheme, request.host)
    try:
        url = urljoin((origin + request.target).decode("ascii"), reference.decode("ascii"))
        parts = urlsplit(url)
    except ValueError:
        # UnicodeDecodeError is one.
        return None
    if f"{parts.scheme}://{parts.netloc}".lower().encode() != origin.lower():
        return None
    path = parts.path or "/"
    return f"{path}?{parts.query}".encode() if parts.query else path.encode()
