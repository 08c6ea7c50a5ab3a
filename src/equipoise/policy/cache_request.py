"""A request and an answer in the neutral form in which the cache's rules look at them.

Owns: which fields the rules ask for, each found once.
Refuses to know: protocols, connections, the rules.
"""

from typing import Any, Final

from mypy_extensions import i64

from equipoise.wire.cache_control import Directives, parse_cache_control, parse_targeted
from equipoise.wire.field_lines import FieldPairs, find_values

# What a field of a request is to the rules; added together.
KEYED: Final = 1
CREDENTIALS: Final = 2
CONTROL: Final = 4
PARTIAL: Final = 8  # Range, If-Range
CONDITION: Final = 16  # If-None-Match, If-Modified-Since
PRECONDITION: Final = 32  # If-Match, If-Unmodified-Since
CONTENT_TYPE: Final = 64
UPGRADE: Final = 128

LENGTH_DIGITS: Final = 18
# What the rules ask of an answer.
ANSWER_FIELDS: Final = frozenset(
    (
        b"age",
        b"cache-control",
        b"cdn-cache-control",
        b"content-encoding",
        b"content-length",
        b"content-location",
        b"content-range",
        b"content-type",
        b"date",
        b"etag",
        b"expires",
        b"last-modified",
        b"location",
        b"set-cookie",
        b"vary",
    )
)


class CacheRequest:
    """A request.

    `Rules` fill in what is not given to the constructor, once. After that nothing changes, so that many requests with
    the same head can share one.

    Attributes:
        noted: `CREDENTIALS` and the like: which fields it has.
        keyed: the fields that are part of its key.
        directives: of its Cache-Control; none without one.
        judgement: why its head keeps it from the cache; an empty string when nothing does, none before `Rules` looked.
        digest: of the part of its key that is not the body; none before it was needed.
        bare_key: its key without a body; empty before it was needed.
    """

    def __init__(self, method: bytes, scheme: bytes, host: bytes, target: bytes, fields: FieldPairs) -> None:
        """Takes what the client sent.

        Args:
            method: of the request.
            scheme: `http` or `https`, of the client's connection.
            host: with its port, as it was sent; empty when there was none.
            target: path and query, as they are sent on.
            fields: all that are sent on, with Via and X-Forwarded-For as they came, without what the balancer adds.
        """
        self.method = method
        self.scheme = scheme
        self.host = host
        self.target = target
        self.fields = fields
        self.noted: i64 = 0
        self.keyed: FieldPairs = []
        self.directives: Directives | None = None
        self.judgement: str | None = None
        # A hash object of hashlib, which is no native class.
        self.digest: Any = None
        self.bare_key = b""

    def values(self, name: bytes) -> list[bytes]:
        """All values of a field; `name` in lower case."""
        return find_values(self.fields, name)

    def path(self) -> bytes:
        """The path without the query, for whoever purges by path."""
        return self.target.partition(b"?")[0]


class CacheAnswer:
    """The head of an answer.

    Attributes:
        targeted: whether `directives` come from a targeted field, so that Expires does not count (RFC 9213 2.2).
        content_length: bytes of the body; -1 when it was not said.
        answered_steady: monotonic clock when the head arrived; whoever stores the answer sets it.
    """

    def __init__(self, status: i64, fields: FieldPairs, framed: bool, asked: i64, answered: i64) -> None:
        """Takes what the target sent.

        Args:
            status: a final one.
            fields: without those of one connection.
            framed: whether the end of the body can be told from a lost connection: by its length, by chunks, by
                HTTP/2.
            asked: unix clock in nanoseconds, when the request was sent.
            answered: the same, when the head arrived.
        """
        self.status = status
        self.fields = fields
        self.framed = framed
        self.asked = asked
        self.answered = answered
        self.answered_steady: i64 = 0
        found: dict[bytes, list[bytes]] = {}
        for name, value in fields:
            if name in ANSWER_FIELDS:
                known = found.get(name)
                if known is None:
                    found[name] = [value]
                else:
                    known.append(value)
        self._found = found
        self.targeted = False
        targeted = found.get(b"cdn-cache-control")
        directives = None if targeted is None else parse_targeted(targeted)
        if directives is None:
            directives = parse_cache_control(self.values(b"cache-control"))
        else:
            self.targeted = True
        self.directives: Directives = directives
        self.content_length: i64 = _length(self.one(b"content-length"))

    def values(self, name: bytes) -> list[bytes]:
        """All values of one of `ANSWER_FIELDS`; an empty list when it is missing."""
        return self._found.get(name, [])

    def has(self, name: bytes) -> bool:
        """Whether one of `ANSWER_FIELDS` is there."""
        return name in self._found

    def is_event_stream(self) -> bool:
        """Whether it is sent piece by piece as things happen, and may never end."""
        return any(value[:17].lower() == b"text/event-stream" for value in self.values(b"content-type"))

    def one(self, name: bytes) -> bytes | None:
        """Value of one of `ANSWER_FIELDS` that stands there exactly once."""
        values = self._found.get(name)
        return values[0] if values is not None and len(values) == 1 else None


def _length(value: bytes | None) -> i64:
    if value is None or not 0 < len(value) <= LENGTH_DIGITS:
        return -1
    length: i64 = 0
    for octet in value:
        if octet < 0x30 or octet > 0x39:
            return -1
        length = length * 10 + octet - 0x30
    return length
