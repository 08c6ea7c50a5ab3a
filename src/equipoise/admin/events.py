"""Server-sent events: the status each second, and what happens at once.

Owns: the text of the stream, when it ends, and `GET /v1/events`.
Refuses to know: what is published (`runtime.events`), what a status holds.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any, Final

import orjson
from fastapi import APIRouter, Header, Request
from fastapi.responses import StreamingResponse

from equipoise.admin.answers import Boss, json_response, refusals
from equipoise.admin.models import FLIP_EXAMPLE, STATUS_EXAMPLE, RecentEvents
from equipoise.runtime.events import Event, Subscription
from equipoise.runtime.supervisor import Supervisor

MEDIA_TYPE: Final = "text/event-stream"
BEAT: Final = 1.0
_END: Final[Event] = {"kind": "end"}

router = APIRouter(tags=["events"])


class Streams:
    """All streams that are open, so that they can be ended together."""

    def __init__(self) -> None:
        """There is none."""
        self._open: set[Subscription] = set()
        self._over = False
        self._beat = -1
        self._status = b""

    def end(self) -> None:
        """End all of them, and any that is yet to begin."""
        self._over = True
        for subscription in self._open:
            subscription.put(_END)

    async def run(self, supervisor: Supervisor, last: int, remaining: float) -> AsyncIterator[bytes]:
        """One stream.

        Args:
            supervisor: whose events.
            last: number of the last event that the client knows; later ones that are remembered come first.
            remaining: seconds for which the caller's token is still good; then the stream ends.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + remaining
        with supervisor.events.subscribe() as subscription:
            self._open.add(subscription)
            try:
                for event in supervisor.events.recent():
                    if event["id"] > last:
                        yield encode(event)
                while not self._over and loop.time() < until:
                    yield self._status_now(supervisor, loop.time())
                    async for event in _before(subscription, loop.time() // BEAT * BEAT + BEAT):
                        if event is _END:
                            return
                        yield encode(event)
            finally:
                self._open.discard(subscription)

    def _status_now(self, supervisor: Supervisor, now: float) -> bytes:
        """All streams of one second share one status."""
        beat = int(now // BEAT)
        if beat != self._beat:
            self._beat = beat
            self._status = encode({"kind": "status", **supervisor.status()})
        return self._status


async def _before(subscription: Subscription, deadline: float) -> AsyncIterator[Event]:
    """The events until a moment of the loop's clock."""
    while True:
        try:
            async with asyncio.timeout_at(deadline):
                event = await anext(subscription)
        except TimeoutError:
            return
        yield event


def encode(event: dict[str, Any]) -> bytes:
    """One event as the stream carries it (WHATWG HTML, 9.2). JSON has no line breaks of its own."""
    number = f"id: {event['id']}\n" if "id" in event else ""
    return f"{number}event: {event['kind']}\ndata: ".encode() + orjson.dumps(event) + b"\n\n"


_STREAM_EXAMPLE: Final = (encode({"kind": "status", **STATUS_EXAMPLE}) + encode(FLIP_EXAMPLE)).decode()


@router.get(
    "/events",
    summary="Follow what happens",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "A stream that ends with the token's validity, or with the balancer.",
            "content": {MEDIA_TYPE: {"schema": {"type": "string"}, "example": _STREAM_EXAMPLE}},
        },
        **refusals(422),
    },
)
async def events(
    request: Request,
    supervisor: Boss,
    last_event_id: Annotated[
        str, Header(max_length=32, description="Number of the last event that was seen; the later ones are repeated.")
    ] = "",
) -> StreamingResponse:
    """Server-sent events: `status` each second (as `GET /v1/status`), and `flip`, `change` and `worker` at once.

    The kind of an event is its `event:`, and its `data:` is a JSON object. A reader that is too slow loses the oldest
    events. After a break, a browser's `Last-Event-ID` brings those that were missed, as far as they are remembered.
    """
    streams: Streams = request.app.state.streams
    last = int(last_event_id) if last_event_id.isascii() and last_event_id.isdigit() else _newest(supervisor)
    remaining = request.state.caller.until - request.app.state.clocks.wall()
    # A proxy in between must not keep events back (nginx reads this field).
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(streams.run(supervisor, last, remaining), headers=headers, media_type=MEDIA_TYPE)


def _newest(supervisor: Supervisor) -> int:
    recent = supervisor.events.recent()
    return int(recent[-1]["id"]) if recent else 0


@router.get("/events/recent", summary="What happened lately", responses=refusals(), response_model=RecentEvents)
async def recent(supervisor: Boss) -> Any:
    """The last 200 flips, changes and events of workers, the oldest first."""
    return json_response({"events": supervisor.events.recent()})
