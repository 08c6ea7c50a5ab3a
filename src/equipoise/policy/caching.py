"""What may be answered from the cache, under which key, and what may be stored.

Owns: the rules of mode `identical`, the keys of both modes, and the reasons why the cache is not used.
Refuses to know: freshness and validation by HTTP (`rfc9111`), the storage, connections.

A request becomes a key: a digest over an encoding that no two different requests share. What a request can change in an
answer must be in its key, or the answer of one client reaches another; so in mode `identical` every field is, but for
those that the configuration leaves out, and some are whatever it says (`ALWAYS_KEYED`).
"""

import hashlib
from operator import itemgetter
from typing import Any, Final

from mypy_extensions import i64

from equipoise.model import CacheSpec
from equipoise.policy.cache_request import (
    CONDITION,
    CONTENT_TYPE,
    CONTROL,
    CREDENTIALS,
    KEYED,
    PARTIAL,
    PRECONDITION,
    UPGRADE,
    CacheAnswer,
    CacheRequest,
)
from equipoise.wire import cache_control
from equipoise.wire.cache_control import parse_cache_control
from equipoise.wire.field_lines import read_pairs
from equipoise.wire.headers import BLANKS
from equipoise.wire.http1 import is_token

# Why a request is not looked up: `cache: "bypass"` in the access log.
METHOD: Final = "method"
AUTHORIZATION: Final = "authorization"
REQUEST_NO_STORE: Final = "request_no_store"
REQUEST_MALFORMED: Final = "request_malformed"
PRECONDITIONED: Final = "precondition"
GRPC: Final = "grpc"
UPGRADED: Final = "upgrade"
BODY: Final = "body"
BODY_TOO_LARGE: Final = "body_too_large"
# Why an answer is not stored: with `cache: "miss"`.
STATUS: Final = "status"
PARTIAL_ANSWER: Final = "partial"
SET_COOKIE: Final = "set_cookie"
NO_STORE: Final = "no_store"
NO_CACHE: Final = "no_cache"
PRIVATE: Final = "private"
MALFORMED: Final = "malformed"
VARY: Final = "vary"
TOO_LARGE: Final = "too_large"
UNFRAMED: Final = "unframed"
TRAILERS: Final = "trailers"
INCOMPLETE: Final = "incomplete"
NOT_FRESH: Final = "not_fresh"
EVENT_STREAM: Final = "event_stream"

# Of one connection, or framing, which the key holds as the body itself.
NEVER_KEYED: Final = (
    *(b"connection", b"keep-alive", b"proxy-connection", b"proxy-authorization", b"te", b"trailer"),
    *(b"transfer-encoding", b"content-length", b"expect", b"host"),
)
# Fields that choose another resource or method behind the URL and that hardly any honest client sends: where not every
# field is keyed, they poison caches (the lists of param-miner and of THREATS). A client that sends one is on its own.
DIVERTING: Final = (
    *(b"forwarded", b"x-host", b"x-original-host", b"x-original-url", b"x-override-url", b"x-rewrite-url"),
    *(b"x-http-method", b"x-http-method-override", b"x-method-override", b"x-url-scheme", b"front-end-https"),
    *(b"x-forwarded-scheme", b"x-forwarded-port", b"x-forwarded-prefix", b"x-forwarded-path", b"x-forwarded-uri"),
    *(b"x-forwarded-host", b"x-forwarded-proto", b"x-forwarded-server", b"x-forwarded-ssl"),
)
# What a body means (RFC 10008 has it in the key of a QUERY).
OF_THE_BODY: Final = (b"content-type", b"content-encoding", b"content-language", b"content-location")
# Which part of an answer comes back, and whether one does.
OF_THE_ANSWER: Final = (
    *(b"range", b"if-range", b"if-match", b"if-none-match", b"if-modified-since", b"if-unmodified-since"),
)
ALWAYS_KEYED: Final = (*DIVERTING, *OF_THE_BODY, *OF_THE_ANSWER, b"authorization")
NOTED: Final[dict[bytes, int]] = {
    b"authorization": CREDENTIALS,
    b"cache-control": CONTROL,
    b"range": PARTIAL,
    b"if-range": PARTIAL,
    b"if-none-match": CONDITION,
    b"if-modified-since": CONDITION,
    b"if-match": PRECONDITION,
    b"if-unmodified-since": PRECONDITION,
    b"content-type": CONTENT_TYPE,
    b"upgrade": UPGRADE,
}
# What of it needs a look before the key is made.
JUDGED: Final = CREDENTIALS | CONTROL | PRECONDITION | CONTENT_TYPE | UPGRADE
# An answer that differs by one of these differs by what the key does not hold: the balancer writes them.
UNKEYABLE: Final = frozenset((b"*", b"x-forwarded-for", b"x-request-id"))
# In the key anyway: the scheme and the host.
KEYED_ANYWAY: Final = frozenset((b"host", b"x-forwarded-host", b"x-forwarded-proto"))
RFC9111_METHODS: Final = frozenset((b"GET", b"HEAD", b"QUERY"))

# Heads that are remembered with what was found out about them, and the longest of them, in bytes.
REMEMBERED: Final = 512
REMEMBERED_SIZE: Final = 2048

_NAME: Final = itemgetter(0)


class Rules:
    """The cache of one pool as its configuration wants it.

    Attributes:
        rfc9111: whether the mode is `rfc9111`; otherwise it is `identical`.
        max_body: the largest body, of a request or of an answer, in bytes.
        keep_stale: how long a stale answer that can be validated is kept, nanoseconds.
        ttl: how long an answer is used, nanoseconds; in mode `rfc9111` the most for one that says nothing of it.
    """

    def __init__(self, spec: CacheSpec, pool: str) -> None:
        """Prepares the tables that a request is compared with.

        Args:
            spec: of the pool's cache.
            pool: its name, which is part of every key.
        """
        self.rfc9111 = spec.mode == "rfc9111"
        self.max_body: i64 = spec.max_body
        self.ttl: i64 = int(spec.ttl * 1e9)
        self.keep_stale: i64 = int(spec.keep_stale * 1e9)
        methods = frozenset(method.encode() for method in spec.methods)
        self.methods = methods & RFC9111_METHODS if self.rfc9111 else methods
        anyway = frozenset(spec.store_anyway)
        if self.rfc9111:
            # The answer's own directives say what may be kept, but for Set-Cookie, of which they say nothing.
            anyway &= {"set-cookie"}
        self.keep_authorized = "authorization" in anyway
        self.keep_cookies = "set-cookie" in anyway
        self.keep_private = "private" in anyway
        self.keep_no_store = "no-store" in anyway
        self.keep_no_cache = "no-cache" in anyway
        self.all_keyed = spec.key_headers == "all" and not self.rfc9111
        self.table = _table(spec, self.all_keyed)
        # A key of other rules must not meet one of these: what they left out is not known to be equal.
        said = (pool, spec.mode, spec.key_headers, spec.ignore_headers, spec.store_anyway)
        self.tag = hashlib.sha256(repr(said).encode()).hexdigest().encode()
        self._plain: dict[bytes, CacheRequest] = {}
        self._secure: dict[bytes, CacheRequest] = {}

    # -- requests

    def request(self, method: bytes, scheme: bytes, host: bytes, target: bytes, lines: bytes) -> CacheRequest:
        """A request from its head as it is written for a target.

        What is given again is asked for again with the very same bytes, so what was found out about the last few
        hundred heads is remembered by them: that spares most of the price of a hit.

        Args:
            method: as in `CacheRequest`, and so on.
            scheme: likewise.
            host: likewise.
            target: likewise.
            lines: request line and field lines, each with CRLF, and with Via and X-Forwarded-For as the client sent
                them. The four above follow from it and the client's connection.
        """
        known = self._plain if scheme == b"http" else self._secure
        request = known.get(lines)
        if request is None:
            request = CacheRequest(method, scheme, host, target, read_pairs(lines, True))
            if len(lines) <= REMEMBERED_SIZE:
                if len(known) >= REMEMBERED:
                    known.clear()
                known[lines] = request
        return request

    def consider(self, request: CacheRequest, length: i64) -> str:
        """Looks over a request, before its body is there.

        Args:
            request: is completed (`noted`, `keyed`, `directives`).
            length: bytes of its body; 0 when it has none, -1 when nobody knows yet. The caller stops at `max_body`,
                and goes on as after `BODY_TOO_LARGE`.

        Returns:
            Why the cache is left out; an empty string when it may be asked.
        """
        judgement = request.judgement
        if judgement is None:
            judgement = self._look(request)
            request.judgement = judgement
        if judgement:
            return judgement
        if length > self.max_body:
            return BODY_TOO_LARGE
        if length != 0 and self.rfc9111 and request.method != b"QUERY":
            # RFC 9110 9.3.1: nothing says what it means, and so nothing says that it does not.
            return BODY
        return ""

    def _look(self, request: CacheRequest) -> str:
        """What its head alone says."""
        if request.method not in self.methods:
            return METHOD
        table = self.table
        others = self.all_keyed
        noted: i64 = 0
        keyed = []
        for pair in request.fields:
            found = table.get(pair[0])
            if found is None:
                if others:
                    keyed.append(pair)
                continue
            what: i64 = found
            noted |= what
            if what & KEYED != 0:
                keyed.append(pair)
        request.noted = noted
        request.keyed = keyed
        return self._judge(request, noted) if noted & JUDGED != 0 else ""

    def _judge(self, request: CacheRequest, noted: i64) -> str:
        if noted & UPGRADE != 0:
            return UPGRADED
        if noted & CONTENT_TYPE != 0:
            for value in request.values(b"content-type"):
                if value[:16].lower() == b"application/grpc":
                    return GRPC
        if noted & CREDENTIALS != 0 and not self.rfc9111 and not self.keep_authorized:
            return AUTHORIZATION
        if noted & PRECONDITION != 0 and self.rfc9111:
            # RFC 9111 4.3.2: they are not for a cache to evaluate.
            return PRECONDITIONED
        if noted & CONTROL != 0:
            directives = parse_cache_control(request.values(b"cache-control"))
            request.directives = directives
            if directives.malformed:
                return REQUEST_MALFORMED
            if directives.flags & cache_control.NO_STORE != 0 and not self.keep_no_store:
                return REQUEST_NO_STORE
        return ""

    def key(self, request: CacheRequest, body: bytes) -> bytes:
        """The key of a request that `consider` let pass: 32 bytes.

        Args:
            request: that.
            body: all of it.
        """
        if not body and request.bare_key:
            return request.bare_key
        digest = request.digest
        if digest is None:
            digest = self._digest(request)
            request.digest = digest
        if not body:
            request.bare_key = digest.digest()
            return request.bare_key
        whole = digest.copy()
        whole.update(body)
        key: bytes = whole.digest()
        return key

    def _digest(self, request: CacheRequest) -> Any:
        method = request.method
        if self.rfc9111 and method == b"HEAD":
            # RFC 9111 2: answered from what GET stored.
            method = b"GET"
        parts = [self.tag, method, request.scheme, request.host, request.target]
        keyed = request.keyed
        if len(keyed) > 1:
            # The order of different fields means nothing, that of equal ones does (RFC 9110 5.3): the sort is stable.
            keyed.sort(key=_NAME)
        for pair in keyed:
            parts.append(pair[0])
            parts.append(pair[1])
        return hashlib.sha256(encode(parts))

    # -- answers

    def refuse(self, request: CacheRequest, answer: CacheAnswer) -> str:
        """Why an answer is not stored, as far as both modes agree; an empty string when it may be.

        Mode `rfc9111` goes on with `rfc9111_store.refuse`. What only the end of the answer shows is `refuse_end`'s.
        """
        status = answer.status
        if status == 206 or answer.has(b"content-range"):
            return PARTIAL_ANSWER
        if not (200 <= status <= 299 or (300 <= status <= 399 and status != 304) or status == 404):
            return STATUS
        if not answer.framed:
            return UNFRAMED
        if answer.content_length > self.max_body and request.method != b"HEAD":
            return TOO_LARGE
        if answer.is_event_stream():
            # It is for whoever listens now: nobody is to wait for its end.
            return EVENT_STREAM
        if answer.has(b"set-cookie") and not self.keep_cookies:
            return SET_COOKIE
        directives = answer.directives
        if directives.malformed:
            return MALFORMED
        if self.rfc9111:
            return ""
        flags = directives.flags
        if flags & cache_control.NO_STORE != 0 and not self.keep_no_store:
            return NO_STORE
        if flags & cache_control.PRIVATE != 0 and not self.keep_private:
            return PRIVATE
        if flags & cache_control.NO_CACHE != 0 and not self.keep_no_cache:
            return NO_CACHE
        return "" if self._covers(answer) else VARY

    def refuse_end(self, request: CacheRequest, answer: CacheAnswer, size: i64, trailers: bool) -> str:
        """Why an answer is not stored, once all of it is here; an empty string when it may be.

        Args:
            request: that asked for it.
            answer: its head.
            size: bytes of its body.
            trailers: whether fields came behind it, which are not kept.
        """
        if trailers:
            return TRAILERS
        if size > self.max_body:
            return TOO_LARGE
        if request.method != b"HEAD" and answer.content_length >= 0 and answer.content_length != size:
            return INCOMPLETE
        return ""

    def _covers(self, answer: CacheAnswer) -> bool:
        """Whether all that the answer says it varies by is in the key; Content-Encoding says so without words."""
        table = self.table
        names = vary_names(answer)
        if answer.has(b"content-encoding"):
            names.append(b"accept-encoding")
        for name in names:
            if name in UNKEYABLE:
                return False
            if name in KEYED_ANYWAY:
                continue
            found = table.get(name)
            if (not self.all_keyed) if found is None else found & KEYED == 0:
                return False
        return True


def _table(spec: CacheSpec, all_keyed: bool) -> dict[bytes, int]:
    """What `Rules.consider` looks for, by name; with `all_keyed`, what is not in the table is keyed too."""
    table = dict.fromkeys(ALWAYS_KEYED, KEYED)
    if spec.mode == "rfc9111":
        for name in (*OF_THE_ANSWER, b"authorization"):
            # The rules evaluate these themselves.
            table[name] = 0
    else:
        if not isinstance(spec.key_headers, str):
            for header in spec.key_headers:
                table[header.encode()] = KEYED
        for header in spec.ignore_headers:
            table[header.encode()] = 0
    for name in NEVER_KEYED:
        table[name] = 0
    for name, what in NOTED.items():
        table[name] = table.get(name, KEYED if all_keyed else 0) | what
    return table


def encode(parts: list[bytes]) -> bytes:
    """A list of byte strings as one, so that no other list gives the same, nor one of them with bytes behind it.

    What heads hold has no line feeds, so joining by them is enough and fast; for anything else each length is written.
    """
    joined = b"\n".join(parts)
    if joined.count(b"\n") != len(parts) - 1:
        joined = b"".join([b"%d:%b" % (len(part), part) for part in parts])
        return b"x%d\n%b" % (len(joined), joined)
    return b"%d\n%b" % (len(joined), joined)


def vary_names(answer: CacheAnswer) -> list[bytes]:
    """The names in Vary, in lower case, sorted, each once; what cannot name a field becomes `*`, which nobody keys."""
    names: set[bytes] = set()
    for value in answer.values(b"vary"):
        for member in value.split(b","):
            name = member.strip(BLANKS).lower()
            if name:
                names.add(name if is_token(name) else b"*")
    return sorted(names)
