"""Active health probes: asking a target whether it is well, traffic or not.

Owns: how a target is asked (TCP, HTTP; gRPC with `grpc_probe`), and when.
Refuses to know: what an answer means for the target's health.
Called by: runtime/supervisor.py.
"""

import asyncio
import errno
import ssl
from collections.abc import Callable
from typing import Final

from equipoise.config.addresses import parse_url
from equipoise.errors import ProxyError
from equipoise.model import Outcome, TargetState
from equipoise.proxy.tls import Contexts, handshake_problem
from equipoise.runtime import grpc_probe, http2_probe
from equipoise.runtime.app_log import AppLog
from equipoise.runtime.probe_error import NotAskedError, ProbeError, UnreachableError
from equipoise.runtime.slots import Key
from equipoise.runtime.targets import Entry, TargetTable
from equipoise.wire.http1 import ResponseHead

# Probes at once. Each lasts milliseconds unless its target hangs, and then at most `timeout`.
CONCURRENT: Final = 128
# The first probes are this far apart, or as far as one interval allows: 500 targets are not asked in one burst.
STAGGER: Final = 0.01
# Errors that say that this machine, not the target, is out of something: descriptors, memory.
OWN_ERRORS: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
MAX_HEAD: Final = 32 * 1024
MAX_FIELDS: Final = 200
_GRAIN: Final = 0.025


class HealthChecks:
    """Probes all targets of a table whenever they are due; one loop with due times."""

    def __init__(self, table: TargetTable, log: AppLog, on_outcome: Callable[[Key, Outcome, str], None]) -> None:
        """Nothing is due yet.

        Args:
            table: what to probe; it is read again and again.
            log: told of what should not happen.
            on_outcome: called with `PROBE_OK`, or with a reason and `PROBE_FAILED`; or `CONNECT_FAILED`, of a target
                that is down and takes no connection.
        """
        # Makes the TLS contexts of https targets; whoever changes the table tells it.
        self.contexts = Contexts()
        self._table = table
        self._log = log
        self._on_outcome = on_outcome
        self._due: dict[Key, float] = {}
        self._running: set[Key] = set()
        # Probes cannot be made at the moment, which was told.
        self._short = False

    async def run(self) -> None:
        """Probe, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                for entry in self._now_due(asyncio.get_running_loop().time()):
                    self._running.add(entry.key)
                    tasks.create_task(self._check(entry))
                await asyncio.sleep(_GRAIN)

    def hurry(self, key: Key, delay: float) -> None:
        """Probe a target after `delay` at the latest: it just went down."""
        soon = asyncio.get_running_loop().time() + delay
        self._due[key] = min(self._due.get(key, soon), soon)

    def _now_due(self, now: float) -> list[Entry]:
        entries = [entry for entry in self._table if entry.health_config.type != "none"]
        for gone in self._due.keys() - {entry.key for entry in entries}:
            del self._due[gone]
        due: list[Entry] = []
        new = 0
        for entry in entries:
            if entry.key not in self._due:
                self._due[entry.key] = now + (new * STAGGER) % entry.health_config.interval
                new += 1
            if (
                self._due[entry.key] <= now
                and entry.addresses
                and entry.key not in self._running
                and len(self._running) + len(due) < CONCURRENT
            ):
                due.append(entry)
        # The longest overdue first: when there are too many, none is forgotten.
        return sorted(due, key=lambda entry: self._due[entry.key])

    async def _check(self, entry: Entry) -> None:
        loop = asyncio.get_running_loop()
        # Set before the outcome is told, so that a flip may bring it forward.
        started = loop.time()
        up = entry.state is TargetState.UP
        interval = entry.health_config.interval if up else entry.health_config.down_interval
        self._due[entry.key] = started + interval
        outcome, reason = Outcome.PROBE_OK, ""
        try:
            await probe(entry, self._context(entry))
        except NotAskedError as error:
            self._tell_shortage(str(error))
            return
        except UnreachableError as error:
            outcome, reason = Outcome.PROBE_FAILED if up else Outcome.CONNECT_FAILED, str(error)
        except ProbeError as error:
            outcome, reason = Outcome.PROBE_FAILED, str(error)
        except Exception as error:  # noqa: BLE001 -- one probe must not end all others
            outcome, reason = Outcome.PROBE_FAILED, f"{type(error).__name__}: {error}"
            self._log.error("a health probe broke", pool=entry.key.pool, target=entry.key.target, reason=reason)
        finally:
            self._running.discard(entry.key)
        self._tell_shortage("")
        self._on_outcome(entry.key, outcome, reason)

    def _tell_shortage(self, reason: str) -> None:
        """Says once that targets cannot be asked, and once that they can be again."""
        if bool(reason) is self._short:
            return
        self._short = bool(reason)
        if reason:
            self._log.warning("health probes cannot be made; what is known of targets stays", reason=reason)
        else:
            self._log.info("health probes are made again")

    def _context(self, entry: Entry) -> ssl.SSLContext | None:
        if entry.tls is None:
            return None
        both, http1 = self.contexts.target(entry.tls)
        return http1 if entry.health_config.type == "http" else both


async def probe(entry: Entry, tls: ssl.SSLContext | None = None) -> None:
    """Ask a target once, at its first address that takes a connection.

    Args:
        entry: the target.
        tls: what its certificate is verified with, as for requests; None for a plain one.

    Raises:
        ProbeError: it is not well.
        NotAskedError: it could not be asked, for which it is not to blame.
    """
    timeout = entry.health_config.timeout
    connected = False
    try:
        async with asyncio.timeout(timeout):
            reader, writer = await _connect(entry, tls)
            connected = True
            try:
                await _ask(entry, reader, writer)
            finally:
                writer.transport.abort()
    except ssl.SSLError as error:
        raise ProbeError(f"TLS: {handshake_problem(error)}") from error
    except OSError as error:  # a TimeoutError is one too
        if error.errno in OWN_ERRORS:
            raise NotAskedError(error.strerror) from error
        reason = f"no answer in {timeout:g} s" if isinstance(error, TimeoutError) else error.strerror or str(error)
        raise (ProbeError if connected else UnreachableError)(reason) from error


async def _connect(entry: Entry, tls: ssl.SSLContext | None) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    name = entry.tls.server_name if entry.tls is not None else None
    *others, last = entry.addresses
    for address in others:
        try:
            return await asyncio.open_connection(address, entry.port, limit=MAX_HEAD, ssl=tls, server_hostname=name)
        except OSError:
            continue
    return await asyncio.open_connection(last, entry.port, limit=MAX_HEAD, ssl=tls, server_hostname=name)


async def _ask(entry: Entry, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    config = entry.health_config
    scheme = parse_url(entry.config.url).scheme
    host = f"[{entry.host}]" if ":" in entry.host else entry.host
    authority = f"{host}:{entry.port}"
    if config.type == "grpc":
        tls = writer.get_extra_info("ssl_object")
        if tls is not None and tls.selected_alpn_protocol() != "h2":
            raise ProbeError("does not choose HTTP/2 (ALPN h2), which gRPC needs")
        await grpc_probe.check(reader, writer, ("https" if scheme == "https" else "http", authority), config.service)
    elif config.type == "http":
        asked = _ask_http2 if scheme == "h2c" else _ask_http1
        status = await asked(reader, writer, authority, config.path)
        if not any(first <= status <= last for first, last in config.expect):
            raise ProbeError(f"status {status}")


async def _ask_http1(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, authority: str, path: str) -> int:
    request = (
        f"GET {path} HTTP/1.1\r\nHost: {authority}\r\n"
        "User-Agent: equipoise-health\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    )
    writer.write(request.encode())
    return await _status(reader)


async def _ask_http2(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, authority: str, path: str) -> int:
    head = [
        (b":method", b"GET"),
        (b":scheme", b"http"),
        (b":authority", authority.encode()),
        (b":path", path.encode()),
        (b"user-agent", b"equipoise-health"),
        (b"accept", b"*/*"),
    ]
    return (await http2_probe.ask(reader, writer, head, whole=False)).status


async def _status(reader: asyncio.StreamReader) -> int:
    """The status of the final answer; interim ones are passed over."""
    data = b""
    head = ResponseHead(MAX_HEAD, MAX_FIELDS)
    try:
        while True:
            piece = await reader.read(MAX_HEAD)
            if not piece:
                raise ProbeError("closed without an answer")
            data += piece
            while head.read(data):
                if int(head.status) >= 200:
                    return int(head.status)
                data = data[int(head.at) :]
                head = ResponseHead(MAX_HEAD, MAX_FIELDS)
    except ProxyError as error:
        raise ProbeError(f"not valid HTTP: {error.detail}") from error
