"""What may be stored, how it is found again, and how long it is good (RFC 9111 3, 4.1, 4.2).

Owns: the way from an answer to what the storage holds, in both modes.
Refuses to know: when a stored answer is used (`rfc9111`), the storage, the body but for its size.

Times are nanoseconds of the unix clock; dates are seconds of it.
"""

import hashlib
from typing import Final

from mypy_extensions import i64

from equipoise.policy.cache_request import CREDENTIALS, CacheAnswer, CacheRequest
from equipoise.policy.cached import (
    MAX_VARY_NAMES,
    MUST_REVALIDATE,
    NEVER,
    NO_CACHE,
    NS,
    SHARED_AGE,
    VALIDATED,
    Cached,
    head_block,
    pack_marker,
)
from equipoise.policy.caching import (
    AUTHORIZATION,
    METHOD,
    NO_STORE,
    NOT_FRESH,
    PRIVATE,
    UNKEYABLE,
    VARY,
    Rules,
    encode,
    vary_names,
)
from equipoise.wire import cache_control
from equipoise.wire.cache_control import ABSENT, parse_seconds
from equipoise.wire.headers import BLANKS
from equipoise.wire.http_date import INVALID, format_date, parse_date
from equipoise.wire.validators import is_entity_tag

# RFC 9110 15.1, of those that `Rules.refuse` lets pass.
HEURISTIC: Final = frozenset((200, 203, 204, 300, 301, 308, 404))
# RFC 9111 3.1: of one connection, or made anew for each client.
NOT_STORED: Final = frozenset(
    (
        b"age",
        b"connection",
        b"content-length",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authentication-info",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"x-request-id",
    )
)
# RFC 9110 8.6: nothing is said of the length of what cannot have a body.
NO_LENGTH: Final = frozenset((204,))
# The tenth that RFC 9111 4.2.2 suggests.
HEURISTIC_SHARE: Final = 10


class Kept:
    """What goes into the storage.

    Attributes:
        cached: what clients are answered from.
        key: of the answer with its body.
        head: of the answer, packed.
        marker_key: of what says by which fields the variants are told apart; empty when there are none.
        marker: that, packed; it has no body.
        keep_for: how long both are of use, nanoseconds from now; not above 0 when they are of none.
    """

    def __init__(self, cached: Cached, key: bytes, keep_for: i64) -> None:
        self.cached = cached
        self.key = key
        self.head = cached.pack()
        self.marker_key = b""
        self.marker = b""
        self.keep_for = keep_for


def refuse(rules: Rules, request: CacheRequest, answer: CacheAnswer) -> str:
    """Why an answer is not stored in mode `rfc9111` (RFC 9111 3), after `Rules.refuse` let it pass.

    Returns:
        A reason of `caching`; an empty string when it may be stored.
    """
    if request.method == b"HEAD":
        # It has no body, and GET is answered from what is stored.
        return METHOD
    directives = answer.directives
    flags = directives.flags
    # 5.2.2.3: whoever understands the status need not heed the no-store that is meant for the others.
    if flags & cache_control.NO_STORE != 0 and flags & cache_control.MUST_UNDERSTAND == 0:
        return NO_STORE
    if flags & cache_control.PRIVATE != 0:
        return PRIVATE
    shared = flags & (cache_control.PUBLIC | cache_control.MUST_REVALIDATE) != 0 or directives.s_maxage != ABSENT
    if request.noted & CREDENTIALS != 0 and not shared:
        # 3.5.
        return AUTHORIZATION
    names = vary_names(answer)
    if len(names) > MAX_VARY_NAMES:
        return VARY
    for name in names:
        if name in UNKEYABLE:
            return VARY
    if not _speaks_of_storing(answer):
        return NOT_FRESH
    if not has_validator(answer):
        age = initial_age(answer)
        life = lifetime(answer, rules.ttl)
        if life + max(_span(directives.stale_while_revalidate), _span(directives.stale_if_error), 0) <= age:
            return NOT_FRESH
    return ""


class Place:
    """Where the answer to a request is stored.

    Attributes:
        key: of the request: `Rules.key`.
        names: those of the marker that was found there; an empty list without one.
    """

    def __init__(self, key: bytes, names: list[bytes]) -> None:
        self.key = key
        self.names = names


def _speaks_of_storing(answer: CacheAnswer) -> bool:
    """The last condition of section 3: it says how long it is fresh, or that it is for all, or its status does."""
    directives = answer.directives
    if directives.max_age != ABSENT or directives.s_maxage != ABSENT or answer.status in HEURISTIC:
        return True
    if directives.flags & cache_control.PUBLIC != 0:
        return True
    return answer.has(b"expires") and not answer.targeted


def keep(rules: Rules, request: CacheRequest, answer: CacheAnswer, size: i64, place: Place) -> Kept:
    """What is stored of an answer that nothing refused.

    Args:
        rules: of the pool.
        request: that it answers.
        answer: its head.
        size: bytes of its body.
        place: where the request's answers are.
    """
    key = place.key
    cached = cache(rules, request, answer, size)
    if not rules.rfc9111:
        return Kept(cached, key, rules.ttl)
    left = cached.lifetime - cached.initial_age
    after = max(cached.while_revalidate, cached.if_error, rules.keep_stale if cached.flags & VALIDATED != 0 else 0)
    kept = Kept(cached, key, left + after)
    # The names of older answers stay, lest two answers that vary by different fields take turns in hiding each other.
    names = sorted({*place.names, *vary_names(answer)})
    if len(names) > MAX_VARY_NAMES:
        names = vary_names(answer)
    if names:
        kept.marker_key = key
        kept.marker = pack_marker(names)
        kept.key = variant_key(key, names, request)
    return kept


def cache(rules: Rules, request: CacheRequest, answer: CacheAnswer, size: i64) -> Cached:
    """An answer in the form in which clients are answered from it; see `keep`."""
    fields = [pair for pair in answer.fields if pair[0] not in NOT_STORED]
    if not answer.has(b"date"):
        # RFC 9110 6.6.1: whoever stores it says when it came.
        fields.append((b"date", format_date(answer.answered // NS)))
    length: i64 = answer.content_length if request.method == b"HEAD" else size
    if length >= 0 and answer.status not in NO_LENGTH:
        fields.append((b"content-length", b"%d" % int(length)))
    cached = Cached(answer.status, head_block(answer.status, fields))
    cached.answered = answer.answered
    cached.answered_steady = answer.answered_steady
    cached.initial_age = initial_age(answer)
    if not rules.rfc9111:
        cached.lifetime = cached.initial_age + rules.ttl
        return cached
    directives = answer.directives
    cached.lifetime = lifetime(answer, rules.ttl)
    cached.while_revalidate = _span(directives.stale_while_revalidate)
    cached.if_error = _span(directives.stale_if_error)
    flags = directives.flags
    if flags & cache_control.NO_CACHE != 0:
        cached.flags |= NO_CACHE
    if flags & (cache_control.MUST_REVALIDATE | cache_control.PROXY_REVALIDATE) != 0:
        cached.flags |= MUST_REVALIDATE
    if directives.s_maxage != ABSENT:
        cached.flags |= SHARED_AGE
    if has_validator(answer):
        cached.flags |= VALIDATED
    return cached


def variant_key(key: bytes, names: list[bytes], request: CacheRequest) -> bytes:
    """The key of one of several answers to the same URL (RFC 9111 4.1): 32 bytes.

    A field that is missing is told apart from one that is empty, and two lines from one with a comma.

    Args:
        key: of the request.
        names: of the marker that is stored under it.
        request: whose fields choose.
    """
    parts = [key]
    for name in names:
        values = request.values(name)
        parts.append(name)
        parts.append(b"%d" % len(values))
        parts.extend(values)
    return hashlib.sha256(encode(parts)).digest()


# -- numbers


def has_validator(answer: CacheAnswer) -> bool:
    """Whether a conditional request can ask for it (RFC 9110 8.8)."""
    tag = answer.one(b"etag")
    if tag is not None and is_entity_tag(tag):
        return True
    return _date(answer, b"last-modified") != INVALID


def lifetime(answer: CacheAnswer, most: i64) -> i64:
    """How old it may get before it is stale (RFC 9111 4.2.1), nanoseconds.

    Args:
        answer: its head.
        most: the longest for an answer that does not say (4.2.2).
    """
    directives = answer.directives
    if directives.s_maxage != ABSENT:
        return directives.s_maxage * NS
    if directives.max_age != ABSENT:
        return directives.max_age * NS
    date = _date(answer, b"date")
    if date == INVALID:
        date = answer.answered // NS
    if answer.has(b"expires") and not answer.targeted:
        # 5.3: what is no date, such as 0, lies in the past.
        expires = _date(answer, b"expires")
        return 0 if expires == INVALID or expires <= date else min(expires - date, cache_control.MAX_SECONDS) * NS
    modified = _date(answer, b"last-modified")
    guessed = answer.status in HEURISTIC or directives.flags & cache_control.PUBLIC != 0
    if not guessed or modified == INVALID or modified >= date:
        return 0
    return min((date - modified) * NS // HEURISTIC_SHARE, most)


def initial_age(answer: CacheAnswer) -> i64:
    """How old it was when it arrived (`corrected_initial_age`, RFC 9111 4.2.3), nanoseconds."""
    date = _date(answer, b"date")
    apparent: i64 = 0 if date == INVALID else max(answer.answered - date * NS, 0)
    if apparent < NS:
        # A date has no fraction: within its second, nothing is known to have passed.
        apparent = 0
    values = answer.values(b"age")
    # 5.1: of several members the first counts; one that is no number is passed over.
    given: i64 = parse_seconds(values[0].partition(b",")[0].strip(BLANKS)) if values else 0
    delay = max(answer.answered - answer.asked, 0)
    return max(apparent, max(given, 0) * NS + delay)


def _date(answer: CacheAnswer, name: bytes) -> i64:
    value = answer.one(name)
    return INVALID if value is None else parse_date(value, answer.answered // NS)


def _span(seconds: i64) -> i64:
    return NEVER if seconds == ABSENT else seconds * NS
