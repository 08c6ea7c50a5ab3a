"""The answer that a client gets from the cache.

Owns: Age and Cache-Status, and, in mode `rfc9111`, the client's conditions and range (RFC 9110 13, 14).
Refuses to know: whether the stored answer may be used, sockets.

Times are nanoseconds of the unix clock.
"""

from typing import Final

from mypy_extensions import i64

from equipoise.policy.cache_request import CONDITION, PARTIAL, CacheRequest
from equipoise.policy.cached import NS, Cached, head_block
from equipoise.wire.field_lines import FieldPairs, read_pairs
from equipoise.wire.http_date import INVALID, parse_date
from equipoise.wire.ranges import PART, UNSATISFIABLE, parse_range
from equipoise.wire.structured import write_string
from equipoise.wire.validators import is_entity_tag, lists_tag, same_strongly

# RFC 9110 15.4.5: what a 304 repeats of the 200 that it stands for.
OF_304: Final = frozenset(
    (
        b"cache-control",
        b"cdn-cache-control",
        b"content-location",
        b"date",
        b"etag",
        b"expires",
        b"last-modified",
        b"vary",
    )
)
# What describes a whole body, and not a part of it or none.
OF_THE_WHOLE: Final = frozenset((b"content-length", b"content-range"))
NAME: Final = b"equipoise"


class Served:
    """An answer from the cache.

    Attributes:
        status: 200 and the like as it was stored, or 206, 304, 416.
        head: status line and field lines of HTTP/1.1, each with CRLF, without the empty line; Age and Cache-Status are
            the last.
        start: first byte of the stored body that is sent.
        end: the byte behind the last.
    """

    def __init__(self, status: i64, head: bytes, start: i64, end: i64) -> None:
        self.status = status
        self.head = head
        self.start = start
        self.end = end

    def fields(self) -> FieldPairs:
        """The fields of the head as pairs, for HTTP/2."""
        return read_pairs(self.head, True)


def serve_identical(request: CacheRequest, cached: Cached, size: i64, now: i64) -> Served:
    """The stored answer, as it is.

    Args:
        request: that it answers.
        cached: what is stored.
        size: bytes of its body.
        now: unix clock.
    """
    return Served(cached.status, cached.given(now), 0, 0 if request.method == b"HEAD" else size)


def serve(request: CacheRequest, cached: Cached, size: i64, now: i64) -> Served:
    """The stored answer, or what of it the client's conditions and range leave (RFC 9111 4.3.2, RFC 9110 13.2, 14.2).

    Args:
        request: after `Rules.consider`.
        cached: what is stored.
        size: bytes of its body.
        now: unix clock.
    """
    if request.noted & (CONDITION | PARTIAL) == 0 or cached.status != 200:
        return serve_identical(request, cached, size, now)
    if request.noted & CONDITION != 0 and _is_known(request, cached, now):
        fields = [pair for pair in cached.fields() if pair[0] in OF_304]
        return Served(304, head_block(304, fields) + cached.marks(now), 0, 0)
    ranges = request.values(b"range")
    # Only GET says what a range of its answer is; of several Range fields none counts.
    if request.method != b"GET" or len(ranges) != 1 or not _range_holds(request, cached, now):
        return serve_identical(request, cached, size, now)
    what, start, end = parse_range(ranges[0], size)
    if what == PART:
        said = b"bytes %d-%d/%d" % (int(start), int(end) - 1, int(size))
        return Served(206, _part(206, cached, said, end - start) + cached.marks(now), start, end)
    if what == UNSATISFIABLE:
        said = b"bytes */%d" % int(size)
        head = head_block(416, [(b"content-range", said), (b"content-length", b"0")])
        return Served(416, head + cached.marks(now), 0, 0)
    return serve_identical(request, cached, size, now)


def _part(status: i64, cached: Cached, content_range: bytes, size: i64) -> bytes:
    fields = [pair for pair in cached.fields() if pair[0] not in OF_THE_WHOLE]
    fields.append((b"content-range", content_range))
    fields.append((b"content-length", b"%d" % int(size)))
    return head_block(status, fields)


def _is_known(request: CacheRequest, cached: Cached, now: i64) -> bool:
    """Whether the client has it already; If-None-Match takes precedence (RFC 9110 13.2.2)."""
    tags = request.values(b"if-none-match")
    if tags:
        tag = cached.find(b"etag") or b""
        return lists_tag(b", ".join(tags), tag if is_entity_tag(tag) else b"")
    dates = request.values(b"if-modified-since")
    since = parse_date(dates[0], now // NS) if len(dates) == 1 else INVALID
    if since == INVALID:
        return False
    # RFC 9111 4.3.2: without Last-Modified by Date, and that is always there.
    modified = cached.find(b"last-modified") or cached.find(b"date")
    changed = INVALID if modified is None else parse_date(modified, now // NS)
    return changed != INVALID and changed <= since


def _range_holds(request: CacheRequest, cached: Cached, now: i64) -> bool:
    """If-Range (RFC 9110 13.1.5): the same entity tag, strongly, or the same date, which must be a strong one."""
    values = request.values(b"if-range")
    if not values:
        return True
    if len(values) > 1:
        return False
    value = values[0]
    if is_entity_tag(value):
        tag = cached.find(b"etag")
        return tag is not None and same_strongly(value, tag)
    modified = cached.find(b"last-modified")
    if modified is None or modified != value:
        return False
    date = parse_date(cached.find(b"date") or b"", now // NS)
    changed = parse_date(modified, now // NS)
    # 8.8.2.2: within its second it could have changed again.
    return date != INVALID and changed != INVALID and date > changed


# -- fields of our own


def forwarded_status(forward: bytes, status: i64, stored: bool, detail: str) -> bytes:
    """Value of Cache-Status of an answer that came from a target (RFC 9211 2.2 to 2.4, 2.8).

    Args:
        forward: why it went there: `Decision.forward`, or `bypass`, `method`, `vary-miss`, `miss`.
        status: that the target answered, where the client gets another one (after a validation); 0 otherwise.
        stored: whether the answer is stored.
        detail: reason of `caching`; an empty string for none.
    """
    parts = [NAME, b"fwd=" + forward]
    if status:
        parts.append(b"fwd-status=%d" % int(status))
    if stored:
        parts.append(b"stored")
    if detail:
        parts.append(b"detail=" + write_string(detail.encode()))
    return b"; ".join(parts)
