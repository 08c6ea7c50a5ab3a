"""What happened in an exchange so far: what is counted of it, and its line in the access log.

Owns: the facts of an exchange that outlive its attempts, their counts in the ledger, and their two forms as a line: a
`Record` for any sink, and, for plain requests into the JSON sink, the line itself.
Refuses to know: the order of the phases (exchange), where lines go (access_log).

The second form exists for its price: written from pieces that are mostly there already it costs a fraction of building
a record and encoding it (`python -m benchmarks.micro`). A test holds the two forms equal.
"""

from typing import Final

import msgspec
from librt.strings import BytesWriter
from mypy_extensions import i64

from equipoise.errors import ProxyError
from equipoise.proxy.access_log import Record, body_fields, detailed
from equipoise.proxy.lookup import Lookup
from equipoise.proxy.services import LogPort, Services
from equipoise.proxy.sides import Downstream, Relay
from equipoise.state.ledger import ABORTED, BAD_ANSWERS, BYTES_IN, BYTES_OUT, FAILURES
from equipoise.state.snapshot import Pool, Target
from equipoise.wire.http1 import RequestHead
from equipoise.wire.message import Request

# Numbers as JSON writes them.
NUMBERS: Final = [b"%d" % number for number in range(1_024)]
# Pieces of a line that hold a number of three digits, with all that stands behind it up to the next one that varies.
STAMP_ENDS: Final = [b'%03dZ","request_id":"' % ms for ms in range(1_000)]
STATUSES: Final = [b'","protocol":"HTTP/1.1","status":%d' % status for status in range(1_000)]
HTTP2_STATUSES: Final = [b'","protocol":"HTTP/2","status":%d' % status for status in range(1_000)]
# The thousandths, one after another: what a number from 0 to 999 looks like stands at three times the number. Each line
# has others, and a list of a thousand objects would be met cold in every line.
THOUSANDTHS: Final = b"".join(b"%03d" % number for number in range(1_000))
# How a line of a gRPC call ends, by its status.
GRPC_ENDS: Final = {b"%d" % status: b',"grpc_status":%d}\n' % status for status in range(17)}
HOST: Final = b'","host":"'
PATH: Final = b'","path":"'
POINT: Final = b"."
UPSTREAM: Final = b',"upstream_ms":'
RECEIVED: Final = b',"bytes_in":'
SENT: Final = b',"bytes_out":'
NOT_ASKED: Final = b',"upstream_ms":null,"bytes_in":'
HIT: Final = b',"cache":"hit","error":null,"why":null'
NO_BODY: Final = b',"body":null'
LINE_END: Final = b"}\n"
ENCODE: Final = msgspec.json.Encoder().encode
QUOTE: Final = 0x22
BACKSLASH: Final = 0x5C


class Account(Relay):
    """The facts; `Exchange` fills them in."""

    def __init__(self, services: Services, downstream: Downstream, head: Request) -> None:
        super().__init__(head, downstream.decodes)
        # The request.
        self.services = services
        self.downstream = downstream
        self.client = downstream.sender()
        self.began: i64 = services.clock()
        self.request_id: bytes = b""
        self.bytes_in: i64 = 0
        self.held_bytes: i64 = 0
        self.body: list[bytes] | None = None
        self.body_kept: i64 = 0
        # The last attempt: its target, when it was picked, and what was in flight there then.
        self.pool: Pool | None = None
        self.attempts: i64 = 0
        self.failed = False
        self.target: Target | None = None
        self.picked: i64 = 0
        self.load: i64 = 0
        # The answer: when its first byte came, and whether it is the balancer's own.
        self.status: i64 = 0
        self.answered: i64 = 0
        self.bytes_out: i64 = 0
        self.failure: ProxyError | None = None
        self.own = False
        # The cache's part, when the pool has one, and whether it gave the answer.
        self.lookup: Lookup | None = None
        self.from_store = False
        # Of a gRPC call, its status as the target gave it.
        self.grpc_status: bytes = b""

    def count_answer(self, status: i64) -> None:
        """Notes the answer's first byte, and tells health when it is one that the pool counts as failure."""
        self.answered = self.services.clock()
        self.status = status
        target = self.target
        pool = self.pool
        assert target is not None
        assert pool is not None
        ledger = self.services.ledger
        ledger.count_answer(target.slot, status, self.answered - self.picked)
        if status >= 500 and int(status) in pool.failure_statuses:
            self.count_failure(target)
            self.services.report(pool.name, target.name, "bad_status")

    def count_failure(self, target: Target) -> None:
        """Counts the attempt as failed, once, whether it was answered or not."""
        if self.failed:
            return
        self.failed = True
        ledger = self.services.ledger
        ledger.add(target.slot, FAILURES, 1)
        if self.answered:
            ledger.add(target.slot, BAD_ANSWERS, 1)

    def count_abort(self) -> None:
        """Counts the attempt as ended without an answer, for which the target is not to blame."""
        if self.target is not None:
            self.services.ledger.add(self.target.slot, ABORTED, 1)

    def count_bytes(self) -> None:
        """Counts what went through; bytes of the balancer's own answer are not the target's."""
        target = self.target
        if target is None:
            return
        ledger = self.services.ledger
        if self.bytes_in:
            ledger.add(target.slot, BYTES_IN, self.bytes_in)
        if not self.own and not self.from_store:
            ledger.add(target.slot, BYTES_OUT, self.bytes_out)

    def log(self, log: LogPort) -> None:
        """Hands the line to the access log."""
        now: i64 = self.services.clock()
        target = self.target
        pool = self.pool
        if (
            log.joins
            and self.lookup is None
            and target is not None
            and pool is not None
            and self.attempts == 1
            and self.failure is None
            and self.answered
            and (not self.grpc_status or self.grpc_status in GRPC_ENDS)
            and self._is_plain(log)
        ):
            self._write_line(log.lines, pool, target, now)
            log.finished()
        elif log.joins and self.from_store and target is None and pool is not None and self._is_plain(log):
            self._write_hit_line(log.lines, pool, now)
            log.finished()
        else:
            log.write(self._record(log, now))

    def _is_plain(self, log: LogPort) -> bool:
        """Whether the request has nothing in it that needs escaping or is rare in a line."""
        head = self.head
        return (
            head.request_id is None
            and not (isinstance(head, RequestHead) and head.minor == 0)
            and (self.body is None or self.held_bytes <= self.body_kept)
            and not log.headers
            # Looked for as numbers: `bytes in bytes` raises and catches an error before it looks.
            and QUOTE not in head.target
            and BACKSLASH not in head.target
        )

    def _whole_body(self) -> bytes | None:
        """The request's body, all of which is kept."""
        body = self.body
        if body is None:
            return None
        return body[0] if len(body) == 1 else b"".join(body)

    def _write_hit_line(self, out: BytesWriter, pool: Pool, now: i64) -> None:
        """The line of a request that the cache answered."""
        lookup = self.lookup
        assert lookup is not None
        duration = (now - self.began) // 1_000
        body, coded = body_pieces(self._whole_body())
        end = b',"cache_reason":"%b"}\n' % lookup.reason.encode() if lookup.reason else LINE_END
        self._write_request(out)
        out.write(pool.hit_piece)
        write_milliseconds(out, duration)
        out.write(NOT_ASKED)
        out.write(number(self.bytes_in))
        out.write(SENT)
        out.write(number(self.bytes_out))
        out.write(body)
        out.write(HIT)
        if coded:
            out.write(coded)
        out.write(end)

    def _write_line(self, out: BytesWriter, pool: Pool, target: Target, now: i64) -> None:
        """The line of a request that went well at once; nothing in it but the body needs escaping."""
        body, coded = body_pieces(self._whole_body())
        end = GRPC_ENDS[self.grpc_status] if self.grpc_status else LINE_END
        why = pool.log_end(self.load)
        duration = (now - self.began) // 1_000
        waited = (self.answered - self.picked) // 1_000
        self._write_request(out)
        out.write(target.log_piece)
        write_milliseconds(out, duration)
        out.write(UPSTREAM)
        write_milliseconds(out, waited)
        out.write(RECEIVED)
        out.write(number(self.bytes_in))
        out.write(SENT)
        out.write(number(self.bytes_out))
        out.write(body)
        out.write(why)
        if coded:
            out.write(coded)
        out.write(end)

    def _write_request(self, out: BytesWriter) -> None:
        """How a line begins, up to the status."""
        head = self.head
        services = self.services
        # Whatever could fail comes before the first piece: half a line would spoil the next one.
        began = services.stamp_open(self.began)
        status = STATUSES[self.status] if isinstance(head, RequestHead) else HTTP2_STATUSES[self.status]
        out.write(began)
        out.write(STAMP_ENDS[services.stamp_ms])
        out.write(self.request_id)
        out.write(self.client.log_piece)
        out.write(head.method)
        out.write(HOST)
        out.write(head.host or b"")
        out.write(PATH)
        out.write(head.target)
        out.write(status)

    def _record(self, log: LogPort, now: i64) -> Record:
        """The line as a record, for every sink and every request."""
        services = self.services
        head = self.head
        target = self.target
        pool = self.pool
        failure = self.failure
        own = self.own
        body: str | None = None
        encoded: str | None = None
        truncated = False
        if self.body is not None:
            raw = b"".join(self.body)
            truncated = self.held_bytes > len(raw)
            body, encoded = body_fields(raw, truncated)
        why: str | None = None
        if pool is not None and target is not None:
            why = pool.reason(self.load)
            if own:
                why = f"{why}; {target.name} was tried last"
        record = Record(
            services.stamp(self.began),
            text(self.request_id),
            self.client.name,
            text(head.method),
            None if head.host is None else text(head.host),
            text(head.target),
            self.downstream.protocol(),
            int(self.status),
            None if target is None or own or self.from_store else target.name,
            None if pool is None else pool.name,
            int(self.attempts),
            milliseconds(now - self.began),
            milliseconds(self.answered - self.picked) if self.answered else None,
            int(self.bytes_in),
            int(self.bytes_out),
            body,
            "off" if self.lookup is None else self.lookup.how,
            None if failure is None else f"{failure.kind} ({failure.side})",
            why,
        )
        cache_reason = None if self.lookup is None else self.lookup.reason or None
        if truncated or encoded is not None or log.headers or self.grpc_status or cache_reason:
            status = int(self.grpc_status) if self.grpc_status.isdigit() else None
            return detailed(record, encoded, truncated, (logged_headers(head, log.headers), status, cache_reason))
        return record


def write_milliseconds(out: BytesWriter, elapsed_us: i64) -> None:
    """Microseconds as `milliseconds` has them in JSON, and with all three decimals."""
    out.write(number(elapsed_us // 1_000))
    out.write(POINT)
    at = elapsed_us % 1_000 * 3
    out.write(THOUSANDTHS[at : at + 3])


def number(value: i64) -> bytes:
    """A whole number from 0 as JSON."""
    if value < 1_024:
        return NUMBERS[value]
    return b"%d" % int(value)


def body_pieces(raw: bytes | None) -> tuple[bytes, bytes]:
    """A whole body as a line has it: where its text stands, and, when it is none, further on."""
    if raw is None:
        return NO_BODY, b""
    if raw.isascii() or is_text(raw):
        return b',"body":' + ENCODE(raw.decode()), b""
    # Bytes are base64 in JSON, to msgspec.
    return NO_BODY, b',"body_base64":' + ENCODE(raw)


def is_text(raw: bytes) -> bool:
    """Whether bytes are UTF-8 (RFC 3629 4); asking so costs a tenth of letting `decode` raise."""
    size: i64 = len(raw)
    at: i64 = 0
    while at < size:
        first: i64 = raw[at]
        at += 1
        if first < 0x80:
            continue
        if first < 0xC2 or first > 0xF4:
            return False
        more: i64 = 1 if first < 0xE0 else 2 if first < 0xF0 else 3
        if at + more > size:
            return False
        second: i64 = raw[at]
        # Neither longer than need be, nor a surrogate, nor beyond U+10FFFF.
        low: i64 = 0xA0 if first == 0xE0 else 0x90 if first == 0xF0 else 0x80
        high: i64 = 0x9F if first == 0xED else 0x8F if first == 0xF4 else 0xBF
        if second < low or second > high:
            return False
        end = at + more
        at += 1
        while at < end:
            if raw[at] & 0xC0 != 0x80:
                return False
            at += 1
    return True


def text(raw: bytes) -> str:
    """Bytes of a head as text; those above 0x7F, which may be in any encoding, one to one."""
    return raw.decode("latin-1")


def milliseconds(elapsed_ns: i64) -> float:
    """Nanoseconds as milliseconds with three decimals."""
    return float(int(elapsed_ns // 1000)) / 1000.0


def logged_headers(head: Request, wanted: tuple[tuple[bytes, bool], ...]) -> dict[str, str] | None:
    """The request's fields that the log is to carry.

    Args:
        head: the request.
        wanted: names in lower case, and whether the value is to be hidden.
    """
    found: dict[str, str] = {}
    for name, hidden in wanted:
        value = head.find(name)
        if value is not None:
            found[text(name)] = "[redacted]" if hidden else text(value)
    return found or None
