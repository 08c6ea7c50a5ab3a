"""What happens in the balancer, told to whoever listens.

Owns: the number and time of each event, the last ones, and a bounded queue for each subscriber.
Refuses to know: what the events mean, and how they are sent on.

Kinds: `flip` {"pool", "target", "from", "to", "reason"}, `change` {"version", "what"},
`worker` {"pid", "row", "event": "started" or "died", ...}.
"""

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final, Self

# So many are remembered for those who come later.
RECENT: Final = 200
# So many wait for a subscriber that does not read; then the oldest are lost to it.
WAITING: Final = 256

Event = dict[str, Any]
"""{"id": int, "kind": str, "time": RFC 3339 with milliseconds, ...data}"""


class Subscription:
    """The events from one moment on, as an asynchronous iterator that never ends."""

    def __init__(self) -> None:
        """Nothing has happened yet."""
        self.lost = 0
        self._waiting: deque[Event] = deque()
        self._wake = asyncio.Event()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        while not self._waiting:
            self._wake.clear()
            await self._wake.wait()
        return self._waiting.popleft()

    def put(self, event: Event) -> None:
        """Let one event wait; the oldest makes room for it if need be."""
        if len(self._waiting) == WAITING:
            self._waiting.popleft()
            self.lost += 1
        self._waiting.append(event)
        self._wake.set()


class Events:
    """The one place where events are published. Belongs to the event loop's thread."""

    def __init__(self) -> None:
        """Nothing has happened yet."""
        self._count = 0
        self._recent: deque[Event] = deque(maxlen=RECENT)
        self._subscriptions: list[Subscription] = []

    def publish(self, kind: str, data: dict[str, Any]) -> None:
        """Tell all subscribers, at once and without waiting for any of them.

        Args:
            kind: what sort of event it is.
            data: what there is to say; fit for JSON, without the keys "id" and "kind".
        """
        self._count += 1
        event = {"id": self._count, "kind": kind, "time": timestamp(), **data}
        self._recent.append(event)
        for subscription in self._subscriptions:
            subscription.put(event)

    @contextmanager
    def subscribe(self) -> Iterator[Subscription]:
        """The events from now on, for as long as the context lasts: `with events.subscribe() as stream`."""
        subscription = Subscription()
        self._subscriptions.append(subscription)
        try:
            yield subscription
        finally:
            self._subscriptions.remove(subscription)

    def recent(self) -> list[Event]:
        """The last 200 events, the oldest first."""
        return list(self._recent)


def timestamp() -> str:
    """Now, RFC 3339 in UTC with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")
