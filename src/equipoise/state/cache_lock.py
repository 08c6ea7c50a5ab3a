"""Who may change a shard now: one process at a time, for as long as it lives.

Owns: the locks, one octet of a file for each shard.
Refuses to know: what they guard.

Record locks of the kernel (POSIX, `fcntl`), since the kernel takes them back when their holder dies, however it dies. A
process loses all of them when it closes any descriptor of the file, so the file is one of its own that nobody maps or
closes. Nobody ever waits for a lock in the kernel: the holder may be stopped, and the loop must go on.
"""

import fcntl
import os
from typing import Final

# A critical section lasts some 10 us. Whoever is refused so often meets a holder that does not run.
TRIES: Final = 40


class Locks:
    """The locks of one section."""

    def __init__(self, fd: int, first: int) -> None:
        """Holds nothing.

        Args:
            fd: the lock file; one open descriptor of it in each process, never closed.
            first: the octet that stands for the section's first shard.
        """
        self._fd = fd
        self._first = first

    def take(self, shard: int) -> bool:
        """Takes a shard's lock; false when others held it all the while."""
        for _ in range(TRIES):
            try:
                fcntl.lockf(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, self._first + shard)
            except OSError:  # EAGAIN or EACCES: taken. Anything else means as little: no lock, no change.
                os.sched_yield()
            else:
                return True
        return False

    def give(self, shard: int) -> None:
        """Gives the lock back."""
        fcntl.lockf(self._fd, fcntl.LOCK_UN, 1, self._first + shard)
