"""The access log: a line for every proxied request.

Owns: what a line holds, and the sinks by name. Each library that a sink uses is known inside that sink alone.
Refuses to know: how an exchange came to its values.

The data path sees `AccessLog`; it hands over a `Record` and goes on. `FileLog` gathers records, encodes them by the
batch and writes in a thread of its own, so that a slow disk delays no request: what it cannot write it counts, drops,
and says so.
"""

import base64
from collections.abc import Callable
from typing import Any, Final

import msgspec
from mypy_extensions import mypyc_attr

from equipoise.config.extensions import load_factory
from equipoise.errors import ProxyError
from equipoise.model import AccessLogSpec
from equipoise.proxy.log_file import BatchWriter


class Record(msgspec.Struct, gc=False, omit_defaults=False):
    """One line; the fields are those of the documentation (docs/reference/access-log.md)."""

    time: str
    request_id: str
    client: str
    method: str
    host: str | None
    path: str
    protocol: str
    status: int
    target: str | None
    pool: str | None
    attempts: int
    duration_ms: float
    upstream_ms: float | None
    bytes_in: int
    bytes_out: int
    body: str | None
    cache: str
    error: str | None
    why: str | None


class FullRecord(Record, gc=False, omit_defaults=True):
    """A record with what most lines do not have."""

    body_base64: str | None = None
    body_truncated: bool = False
    headers: dict[str, str] | None = None
    grpc_status: int | None = None
    cache_reason: str | None = None


def refusal(time: str, client: str, protocol: str, error: ProxyError) -> Record:
    """The line of a request that was refused before its head was understood."""
    problem = f"{error.kind} ({error.side}): {error.detail}"
    return Record(
        time,
        "",
        client,
        "",
        None,
        "",
        protocol,
        error.status,
        None,
        None,
        0,
        0.0,
        None,
        0,
        0,
        None,
        "off",
        problem,
        None,
    )


def detailed(
    record: Record,
    encoded: str | None,
    truncated: bool,
    rest: tuple[dict[str, str] | None, int | None, str | None],
) -> FullRecord:
    """A record with what most lines do not have.

    Args:
        record: the line.
        encoded: the body in base64 when it is not UTF-8.
        truncated: the body was longer than what is logged.
        rest: request headers to log, the status of a gRPC call, and what the cache has to say.
    """
    fields: dict[str, Any] = msgspec.structs.asdict(record)
    headers, grpc_status, cache_reason = rest
    return FullRecord(
        **fields,
        body_base64=encoded,
        body_truncated=truncated,
        headers=headers,
        grpc_status=grpc_status,
        cache_reason=cache_reason,
    )


@mypyc_attr(allow_interpreted_subclasses=True)
class AccessLog:
    """What the data path sees of a log. Users subclass it: `sink = "python:module:factory"`."""

    def write(self, record: Record) -> None:
        """Takes a record; must not block and must not raise."""
        raise AssertionError("write is missing")

    def tick(self) -> None:
        """Called every 100 ms from the worker's ticker."""

    def reopen(self) -> None:
        """The file was renamed (SIGUSR1): go on in a new one under the old name."""

    def close(self) -> None:
        """Writes what is left."""

    def counts(self) -> tuple[int, int]:
        """Lines written and lines dropped since the start."""
        return 0, 0


class NullLog(AccessLog):
    """Keeps nothing."""

    def write(self, record: Record) -> None:
        """See `AccessLog.write`."""


# Lines are joined when there are this many, or at the next tick: few enough that they are still in the cache.
BATCH: Final = 64
_ENCODER: Final = msgspec.json.Encoder()


class FileLog(AccessLog):
    """Lines into a file or standard output."""

    def __init__(self, encode: Callable[[list[Record]], bytes], writer: BatchWriter) -> None:
        """Begins.

        Args:
            encode: turns records into lines.
            writer: takes them.
        """
        self.encode = encode
        self.batch: list[Record] = []
        self.writer = writer

    def write(self, record: Record) -> None:
        """See `AccessLog.write`."""
        batch = self.batch
        batch.append(record)
        if len(batch) >= BATCH:
            self.tick()

    def tick(self) -> None:
        """See `AccessLog.tick`."""
        batch = self.batch
        if batch:
            self.batch = []
            self.writer.put(self.encode(batch), len(batch))

    def reopen(self) -> None:
        """See `AccessLog.reopen`."""
        self.tick()
        self.writer.reopen()

    def close(self) -> None:
        """See `AccessLog.close`."""
        self.tick()
        self.writer.close()

    def counts(self) -> tuple[int, int]:
        """See `AccessLog.counts`."""
        return self.writer.written, self.writer.dropped


class JsonLog(AccessLog):
    """Lines of JSON into a file or standard output."""

    def __init__(self, writer: BatchWriter) -> None:
        """Begins.

        Args:
            writer: takes the lines.
        """
        self.writer = writer

    def put(self, lines: bytes, count: int) -> None:
        """Takes so many finished lines; they are written by the next tick."""
        self.writer.put(lines, count, soon=False)

    def write(self, record: Record) -> None:
        """See `AccessLog.write`."""
        self.put(encode_line(record), 1)

    def tick(self) -> None:
        """See `AccessLog.tick`."""
        self.writer.hurry()

    def reopen(self) -> None:
        """See `AccessLog.reopen`."""
        self.writer.reopen()

    def close(self) -> None:
        """See `AccessLog.close`."""
        self.writer.close()

    def counts(self) -> tuple[int, int]:
        """See `AccessLog.counts`."""
        return self.writer.written, self.writer.dropped


class GuardedLog(AccessLog):
    """Keeps what a sink raises away from the requests: the line is lost and counted."""

    def __init__(self, log: AccessLog, on_trouble: Callable[[str], None]) -> None:
        """Stands before a sink whose code is not ours.

        Args:
            log: the sink.
            on_trouble: is told of the first line that is lost, and of the first after one that was not.
        """
        self.log = log
        self.on_trouble = on_trouble
        self.lost = 0
        self.failing = False

    def write(self, record: Record) -> None:
        """See `AccessLog.write`."""
        try:
            self.log.write(record)
        except Exception as error:  # noqa: BLE001  (a user's sink may raise anything)
            self.lost += 1
            self._failed(error)
        else:
            self.failing = False

    def tick(self) -> None:
        """See `AccessLog.tick`."""
        self._try(self.log.tick)

    def reopen(self) -> None:
        """See `AccessLog.reopen`."""
        self._try(self.log.reopen)

    def close(self) -> None:
        """See `AccessLog.close`."""
        self._try(self.log.close)

    def counts(self) -> tuple[int, int]:
        """See `AccessLog.counts`."""
        written, dropped = self.log.counts()
        return written, dropped + self.lost

    def _try(self, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception as error:  # noqa: BLE001  (a user's sink may raise anything)
            self._failed(error)

    def _failed(self, error: Exception) -> None:
        if not self.failing:
            self.failing = True
            self.on_trouble(f"the access log's sink failed: {error!r}; {self.lost} lines lost so far")


class LoggingLog(AccessLog):
    """Records to the standard library's logger `equipoise.access`, with the fields in `extra`."""

    def __init__(self) -> None:
        import logging  # noqa: PLC0415  (known to this sink alone, and loaded only where it is used)

        self.logger: Any = logging.getLogger("equipoise.access")
        self.logger.setLevel(logging.INFO)
        if not self.logger.handlers:
            self.logger.addHandler(logging.StreamHandler())

    def write(self, record: Record) -> None:
        """See `AccessLog.write`."""
        self.logger.info(
            "%s %s %s %s",
            record.method,
            record.path,
            record.status,
            record.target,
            extra={"access": msgspec.to_builtins(record)},
        )


class StructlogLog(AccessLog):
    """Records as events of the structlog logger `equipoise.access`."""

    def __init__(self) -> None:
        import structlog  # noqa: PLC0415  (likewise)

        self.logger: Any = structlog.get_logger("equipoise.access")

    def write(self, record: Record) -> None:
        """See `AccessLog.write`."""
        self.logger.info("request", **msgspec.to_builtins(record))


def make_log(spec: AccessLogSpec, on_trouble: Callable[[str], None]) -> AccessLog:
    """Makes the log that the configuration names.

    Args:
        spec: its `[access_log]`.
        on_trouble: is told when lines are lost, and when writing works again.

    Raises:
        ValueError: there is no such sink, or the user's factory does not make an `AccessLog`.
        OSError: the file cannot be opened.
    """
    if not spec.enabled or spec.sink == "null":
        return NullLog()
    if spec.sink == "json":
        return JsonLog(BatchWriter(spec.path, on_trouble, spec.queue))
    if spec.sink == "text":
        return FileLog(encode_text, BatchWriter(spec.path, on_trouble, spec.queue))
    if spec.sink == "logging":
        return GuardedLog(LoggingLog(), on_trouble)
    if spec.sink == "structlog":
        return GuardedLog(StructlogLog(), on_trouble)
    log = load_factory(spec.sink)(spec)
    if not isinstance(log, AccessLog):
        raise ValueError(f"{spec.sink} made a {type(log).__name__}, not an AccessLog")  # noqa: TRY004 (it is the value that is wrong)
    return GuardedLog(log, on_trouble)


def encode_line(record: Record) -> bytes:
    """A record as a line of JSON."""
    return _ENCODER.encode(record) + b"\n"


def encode_text(records: list[Record]) -> bytes:
    """Lines for people: the combined format's order, then target, times and the error."""
    lines = []
    for r in records:
        path = r.path.encode("unicode_escape").decode("ascii").replace('"', "%22")
        lines.append(
            f'{r.client} {r.time} "{r.method} {path} {r.protocol}" {r.status} {r.bytes_out} '
            f"{r.target or '-'} {r.duration_ms:.3f}ms {r.attempts} {r.error or '-'} {r.request_id}\n"
        )
    return "".join(lines).encode()


def body_fields(body: bytes, truncated: bool) -> tuple[str | None, str | None]:
    """A request's body for the log.

    Args:
        body: its first bytes.
        truncated: more came than is kept; a character cut in two at the end is left out.

    Returns:
        As text, or, where it is not UTF-8, None and the same in base64.
    """
    try:
        return body.decode(), None
    except UnicodeDecodeError as error:
        if truncated and error.start > len(body) - 4 and error.reason == "unexpected end of data":
            return body[: error.start].decode(), None
        return None, base64.b64encode(body).decode()
