"""Connections that wait: idle ones to targets, and everything that has a deadline.

Owns: the stack of idle upstream connections of each target, and the one walk that finds what is due.
Refuses to know: protocols and sockets; it calls `expire` and `close`.
"""

from typing import Final

from mypy_extensions import i64, trait

# A deadline that never comes.
NO_DEADLINE: Final = (1 << 63) - 1
# Idle connections kept to one target by one worker. Above it a connection is closed after its answer.
MAX_IDLE: Final = 256


class Timed:
    """Something with a deadline: setting it is one store, no timer is made or cancelled."""

    def __init__(self) -> None:
        self.deadline: i64 = NO_DEADLINE
        self.place: i64 = -1

    def expire(self, now: i64) -> None:
        """The deadline has passed; called at each tick until it is moved or the object removed.

        Args:
            now: monotonic clock, nanoseconds.
        """
        raise AssertionError("expire is missing")


class Deadlines:
    """All timed objects of a worker, walked by its ticker."""

    def __init__(self) -> None:
        self.all: list[Timed] = []

    def add(self, timed: Timed) -> None:
        """Begins to watch an object."""
        timed.place = len(self.all)
        self.all.append(timed)

    def remove(self, timed: Timed) -> None:
        """Ends watching; the last of the list takes its place, so this costs the same for any number of objects."""
        place = timed.place
        if place < 0:
            return
        timed.place = -1
        last = self.all.pop()
        if last is not timed:
            self.all[place] = last
            last.place = place

    def tick(self, now: i64) -> None:
        """Calls `expire` of everything that is due.

        Args:
            now: monotonic clock, nanoseconds.
        """
        due: list[Timed] = [timed for timed in self.all if timed.deadline <= now]
        for timed in due:
            if timed.place >= 0 and timed.deadline <= now:
                timed.expire(now)


class Stack:
    """What can take a request to one target: connections that are idle, and those that many requests share.

    Shut when the target's address changes, so that no connection to the old one comes back.
    """

    def __init__(self) -> None:
        self.connections: list[Reusable] = []
        self.shared: list[Shared] = []
        self.shut = False

    def take(self) -> "Reusable | None":
        """A stream of the first shared connection that has room, or what was idle for the shortest time, or none."""
        for shared in self.shared:
            if shared.has_room():
                return shared.open()
        return self.take_alone()

    def take_alone(self) -> "Reusable | None":
        """The connection that was idle for the shortest time, for nobody else to use; none when there is none."""
        return self.connections.pop() if self.connections else None


class Reusable(Timed):
    """An upstream connection between two exchanges."""

    def __init__(self, stack: Stack) -> None:
        """Is made for a target.

        Args:
            stack: where it may wait; see `IdleConnections.stack`.
        """
        super().__init__()
        self.stack = stack

    def close(self) -> None:
        """Ends it."""
        raise AssertionError("close is missing")

    def is_open(self) -> bool:
        """Whether the other side is still there, as far as the kernel knows; costs a system call."""
        raise AssertionError("is_open is missing")


@trait
class Shared:
    """A connection to a target that carries many exchanges at once."""

    def has_room(self) -> bool:
        """Whether one more exchange may begin now."""
        raise AssertionError("has_room is missing")

    def open(self) -> Reusable:
        """Takes the place of an exchange; there is room."""
        raise AssertionError("open is missing")

    def retire(self) -> None:
        """Takes no more; closes when those that it carries have ended."""
        raise AssertionError("retire is missing")


class IdleConnections:
    """Upstream connections that can take a request, by the slot of their target; of idle ones the last used first."""

    def __init__(self) -> None:
        self.by_slot: dict[int, Stack] = {}

    def stack(self, slot: i64) -> Stack:
        """Where new connections to a target will wait between their exchanges."""
        stack = self.by_slot.get(int(slot))
        if stack is None:
            stack = Stack()
            self.by_slot[int(slot)] = stack
        return stack

    def take(self, slot: i64) -> Reusable | None:
        """A connection to a target that was idle until now; none when there is none."""
        return self.stack(slot).take()

    def put(self, connection: Reusable) -> bool:
        """Keeps a connection for later; false when there are enough already, or its target has moved."""
        stack = connection.stack
        if stack.shut or len(stack.connections) >= MAX_IDLE:
            return False
        stack.connections.append(connection)
        return True

    def forget(self, connection: Reusable) -> None:
        """A connection closed while it was idle."""
        if connection in connection.stack.connections:
            connection.stack.connections.remove(connection)

    def close_slot(self, slot: int) -> None:
        """Closes what is idle to one target, and what is not when it comes back.

        The target is down, gone, or has another address.
        """
        stack = self.by_slot.pop(slot, None)
        if stack is None:
            return
        stack.shut = True
        connections = stack.connections
        shared = stack.shared
        stack.connections = []
        stack.shared = []
        for connection in connections:
            connection.close()
        for each in shared:
            each.retire()
