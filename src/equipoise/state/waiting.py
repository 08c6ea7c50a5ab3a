"""Requests that wait because every target that may take them is full.

Owns: the order of those who wait for a pool in this worker: the first one to come is the first one to go.
Refuses to know: what a request is, when a target has room again; it is told to look (`wake`).
"""

from collections import deque

from mypy_extensions import i64


class Waiter:
    """Something that can wait in a room."""

    def __init__(self) -> None:
        self.waits_until: i64 = 0

    def try_again(self, now: i64) -> bool:
        """Looks for a target once more.

        Args:
            now: monotonic clock, nanoseconds.

        Returns:
            Whether its wait is over.
        """
        raise AssertionError("try_again is missing")

    def waited_in_vain(self) -> None:
        """The time is up; called once, after it has left the room."""
        raise AssertionError("waited_in_vain is missing")


class WaitingRoom:
    """Who waits for one pool. It outlives snapshots; `limit` and `timeout_ns` follow the configuration."""

    def __init__(self, limit: i64, timeout_ns: i64) -> None:
        """Empty.

        Args:
            limit: how many may wait at once; 0 lets nobody in.
            timeout_ns: how long each may wait.
        """
        self.limit = limit
        self.timeout_ns = timeout_ns
        self.size: i64 = 0
        # Whether somebody has promised to call `wake` soon, and whether somebody looks at it now and then.
        self.woken = False
        self.watched = False
        self._queue: deque[Waiter] = deque()

    def enter(self, waiter: Waiter, now: i64) -> bool:
        """Waits behind all others; false when the room is full."""
        if self.size >= self.limit:
            return False
        waiter.waits_until = now + self.timeout_ns
        self._queue.append(waiter)
        self.size += 1
        return True

    def leave(self, waiter: Waiter) -> None:
        """It waits no more, wherever it stood."""
        self._queue.remove(waiter)
        self.size -= 1

    def wake(self, now: i64) -> None:
        """Lets in turn those go on who can, until one cannot."""
        self.woken = False
        queue = self._queue
        while queue:
            waiter = queue[0]
            # Before it is asked: what it does may bring others here.
            queue.popleft()
            self.size -= 1
            if not waiter.try_again(now):
                queue.appendleft(waiter)
                self.size += 1
                return

    def expire(self, now: i64) -> None:
        """Sends away those whose time is up."""
        late = [waiter for waiter in self._queue if waiter.waits_until <= now]
        if not late:
            return
        self._queue = deque([waiter for waiter in self._queue if waiter.waits_until > now])
        self.size = len(self._queue)
        for waiter in late:
            waiter.waited_in_vain()
