"""Stores over memory that several views or processes share.

Owns: the shapes that tests of the cache's storage start from.
Refuses to know: what they test.
"""

import hashlib
import os
import signal
from collections.abc import Callable

from equipoise.runtime.cache_memory import CacheMemory, Section, open_store
from equipoise.state.cache_record import Entry
from equipoise.state.cache_store import Store

SMALL = 64 * 1024
FAR = 1 << 60


def key(name: object) -> bytes:
    """A digest, as the policy makes them."""
    return hashlib.blake2b(repr(name).encode(), digest_size=32).digest()


def entry(body: bytes = b"body", path: bytes = b"/", head: bytes = b"head", **times: int) -> Entry:
    return Entry(path, head, body, times.get("stored_ns", 1), times.get("expires_ns", FAR))


def parts(found: Entry | None) -> tuple[bytes, bytes, bytes, int, int] | None:
    """An entry as a value that compares."""
    if found is None:
        return None
    return (found.path, found.head, found.body, int(found.stored_ns), int(found.expires_ns))


class Balancer:
    """The memory of a supervisor, with views of one section."""

    def __init__(self, rows: int = 2, max_bytes: int = SMALL) -> None:
        self.memory = CacheMemory(rows)
        self.rows = rows
        self.section: Section = self.memory.take(max_bytes)
        self.supervisor = self.memory.store(self.section)

    def worker(self, row: int = 0) -> Store:
        return open_store(self.memory.files, self.section, self.rows, row)

    def stats(self, *workers: Store) -> dict[str, int]:
        for worker in workers:
            worker.flush()
        return self.supervisor.stats()

    def __del__(self) -> None:
        self.memory.close()


class SmallCaches:
    """A worker's maker of stores, for one section."""

    def __init__(self) -> None:
        self._balancer = Balancer(rows=1)
        self.section = (self._balancer.section.start, self._balancer.section.max_bytes)

    def open(self, _section: tuple[int, int]) -> Store:
        return self._balancer.worker()


def fork(run: Callable[[], object]) -> int:
    """A child process that does `run` and leaves with 0; its pid. An exception leaves with 1."""
    pid = os.fork()
    if pid:
        return pid
    try:
        run()
    except BaseException:  # noqa: BLE001 -- nothing of the parent's test may go on in the child
        os._exit(1)
    os._exit(0)


def wait(pid: int) -> int:
    """The exit code of a child; negative for a signal."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def kill(pid: int) -> int:
    """Ends a child as hard as can be; its exit code."""
    os.kill(pid, signal.SIGKILL)
    return wait(pid)
