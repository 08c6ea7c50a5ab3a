"""The shared memory of all caches: one anonymous file, of which each pool with a cache has a section.

Owns: the two files that workers inherit, which section is whose, and giving memory back to the system.
Refuses to know: what a section holds (state/cache_*), when every worker has let go of one.

The file is a memfd, not one under /dev/shm: that has a limit of its own (64 MiB in a container by default), and a write
beyond it kills the process. Nobody ever finds it, and it is gone with the last process. Memory is taken page by page
as it is written to.
"""

import mmap
import os
from dataclasses import dataclass

from equipoise.state.cache_layout import PAGE, Layout
from equipoise.state.cache_lock import Locks
from equipoise.state.cache_store import Store


@dataclass(frozen=True)
class Section:
    """Where the cache of a pool lies.

    Attributes:
        start: octets from the file's beginning; also the first octet of its locks.
        max_bytes: as the configuration says; the section is that, in whole pages.
    """

    start: int
    max_bytes: int

    @property
    def size(self) -> int:
        """Octets that it takes."""
        return self.max_bytes // PAGE * PAGE


def open_store(files: tuple[int, int], section: Section, rows: int, row: int) -> Store:
    """A process's view of a section.

    Args:
        files: descriptors of the memory and of the locks; they stay open.
        section: where it lies.
        rows: how many workers there are.
        row: which one this is; -1 for the supervisor.

    Raises:
        ValueError: the section is too small for a cache.
        OSError: it cannot be mapped.
    """
    layout = Layout(section.max_bytes, rows)
    memory = mmap.mmap(files[0], layout.size, offset=section.start)
    return Store(memory, layout, Locks(files[1], section.start), row)


class CacheMemory:
    """The files and their sections; the supervisor's."""

    def __init__(self, rows: int) -> None:
        """No section yet, and no memory taken.

        Args:
            rows: how many workers there are.
        """
        self.files = (os.memfd_create("equipoise-cache"), os.memfd_create("equipoise-cache-locks"))
        self._rows = rows
        self._end = 0
        self._taken: list[Section] = []

    def take(self, max_bytes: int) -> Section:
        """A section for a pool, all zero.

        Raises:
            ValueError: so little is too little for a cache.
            OSError: the file cannot grow.
        """
        size = Layout(max_bytes, self._rows).size
        section = Section(self._gap(size), max_bytes)
        end = section.start + size
        if end > self._end:
            os.ftruncate(self.files[0], end)
            self._end = end
        self._taken.append(section)
        return section

    def free(self, section: Section) -> None:
        """Gives a section's memory back to the system; no worker may use it any more."""
        self._taken.remove(section)
        with mmap.mmap(self.files[0], section.size, offset=section.start) as memory:
            memory.madvise(mmap.MADV_REMOVE)

    def store(self, section: Section) -> Store:
        """The supervisor's view of a section: for its counts, and to purge."""
        return open_store(self.files, section, self._rows, -1)

    def close(self) -> None:
        """Hand it down to nobody any more."""
        for fd in self.files:
            os.close(fd)

    def _gap(self, size: int) -> int:
        """The first stretch of the file, or behind its end, that is long enough."""
        start = 0
        for section in sorted(self._taken, key=lambda section: section.start):
            if section.start - start >= size:
                break
            start = section.start + section.size
        return start
