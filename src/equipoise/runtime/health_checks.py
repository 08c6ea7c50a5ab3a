"""Active health probes: asking a target whether it is well, traffic or not.

Owns: how a target is asked (TCP, HTTP), and when.
Refuses to know: what an answer means for the target's health.
Called by: runtime/supervisor.py.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from equipoise.errors import ProxyError
from equipoise.model import Outcome, TargetState
from equipoise.runtime.app_log import AppLog
from equipoise.runtime.slots import Key
from equipoise.runtime.targets import Entry, TargetTable
from equipoise.wire.http1 import ResponseHead

# Probes at once. Each lasts milliseconds unless its target hangs, and then at most `timeout`.
CONCURRENT: Final = 128
# The first probes are this far apart, or as far as one interval allows: 500 targets are not asked in one burst.
STAGGER: Final = 0.01
MAX_HEAD: Final = 32 * 1024
MAX_FIELDS: Final = 200
_GRAIN: Final = 0.025


class ProbeError(Exception):
    """A target did not answer a probe as it should; the text is the reason."""


class UnreachableError(ProbeError):
    """A target did not even take the connection."""


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
        self._table = table
        self._log = log
        self._on_outcome = on_outcome
        self._due: dict[Key, float] = {}
        self._running: set[Key] = set()

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
            await probe(entry)
        except UnreachableError as error:
            outcome, reason = Outcome.PROBE_FAILED if up else Outcome.CONNECT_FAILED, str(error)
        except ProbeError as error:
            outcome, reason = Outcome.PROBE_FAILED, str(error)
        except Exception as error:  # noqa: BLE001 -- one probe must not end all others
            outcome, reason = Outcome.PROBE_FAILED, f"{type(error).__name__}: {error}"
            self._log.error("a health probe broke", pool=entry.key.pool, target=entry.key.target, reason=reason)
        finally:
            self._running.discard(entry.key)
        self._on_outcome(entry.key, outcome, reason)


async def probe(entry: Entry) -> None:
    """Ask a target once, at its first address that takes a connection.

    Raises:
        ProbeError: it is not well.
    """
    timeout = entry.health_config.timeout
    connected = False
    try:
        async with asyncio.timeout(timeout):
            reader, writer = await _connect(entry)
            connected = True
            try:
                if entry.health_config.type == "http":
                    await _ask(entry, reader, writer)
            finally:
                writer.transport.abort()
    except OSError as error:  # a TimeoutError is one too
        reason = f"no answer in {timeout:g} s" if isinstance(error, TimeoutError) else error.strerror or str(error)
        raise (ProbeError if connected else UnreachableError)(reason) from error


async def _connect(entry: Entry) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    *others, last = entry.addresses
    for address in others:
        try:
            return await asyncio.open_connection(address, entry.port, limit=MAX_HEAD)
        except OSError:
            continue
    return await asyncio.open_connection(last, entry.port, limit=MAX_HEAD)


async def _ask(entry: Entry, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    host = f"[{entry.host}]" if ":" in entry.host else entry.host
    request = (
        f"GET {entry.health_config.path} HTTP/1.1\r\nHost: {host}:{entry.port}\r\n"
        "User-Agent: equipoise-health\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    )
    writer.write(request.encode())
    status = await _status(reader)
    if not any(first <= status <= last for first, last in entry.health_config.expect):
        raise ProbeError(f"status {status}")


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
