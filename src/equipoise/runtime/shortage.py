"""Clients that are turned away because a worker has no file descriptor for them: told once, and its end once.

Owns: when a shortage begins, when it is over, and what is said of both.
Refuses to know: who counts those that are turned away (proxy), where it is written.
"""

from collections.abc import Callable, Mapping
from typing import Final

# Without anybody turned away for so long, in seconds, a shortage is over.
CALM: Final = 5.0

Say = Callable[[str, str, Mapping[str, int]], None]


class Shortage:
    """One worker's. Says `level, event, fields`, as the application log takes them."""

    def __init__(self, say: Say, limit: int, counted: int) -> None:
        """There is none yet.

        Args:
            say: into the application log.
            limit: on open files, of this process.
            counted: those who have been turned away before, by a predecessor.
        """
        self._say = say
        self._limit = limit
        self._counted = counted
        self._before = counted
        self._seen_at: float | None = None

    def look(self, counted: int, now: float) -> None:
        """Take note; called at each tick.

        Args:
            counted: all who have been turned away so far.
            now: monotonic, seconds.
        """
        if counted > self._counted:
            if self._seen_at is None:
                self._before = self._counted
                self._say(
                    "warning", "clients are turned away: too few file descriptors", {"open_files_limit": self._limit}
                )
            self._counted = counted
            self._seen_at = now
        elif self._seen_at is not None and now - self._seen_at >= CALM:
            self._seen_at = None
            self._say("info", "clients are taken again", {"turned_away": counted - self._before})
