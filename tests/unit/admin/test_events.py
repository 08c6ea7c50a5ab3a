import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar, cast

import pytest

from equipoise.admin.events import Streams, encode
from equipoise.admin.gate import Clocks
from equipoise.runtime.events import WAITING
from equipoise.runtime.supervisor import Supervisor
from tests.unit.admin.parts import Api, Board, Call, admin_config, perform

Result = TypeVar("Result")


def said(piece: bytes) -> tuple[str, dict[str, Any]]:
    """The kind and the data of one event."""
    fields = dict(line.split(": ", 1) for line in piece.decode().removesuffix("\n\n").split("\n"))
    return fields["event"], json.loads(fields["data"])


class Scene:
    """A stream over a board, read piece by piece."""

    def __init__(self, folder: Path) -> None:
        self.board = Board(admin_config(folder))
        self.streams = Streams()

    def stream(self, last: int = 0, remaining: float = 60.0) -> AsyncIterator[bytes]:
        return self.streams.run(cast("Supervisor", self.board), last, remaining)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def played(play: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
    return asyncio.run(asyncio.wait_for(play(), 20))


async def next_of(stream: AsyncIterator[bytes], kind: str) -> dict[str, Any]:
    """The data of the next event of a kind."""
    async for piece in stream:
        found, data = said(piece)
        if found == kind:
            return data
    raise AssertionError(f"the stream ended before a {kind}")


def test_an_event_is_a_block_of_fields_with_json_on_one_line() -> None:
    event = {"id": 3, "kind": "flip", "reason": "two\nlines"}
    assert encode(event) == b'id: 3\nevent: flip\ndata: {"id":3,"kind":"flip","reason":"two\\nlines"}\n\n'
    assert encode({"kind": "status"}) == b'event: status\ndata: {"kind":"status"}\n\n'


def test_a_stream_begins_with_the_status(scene: Scene) -> None:
    async def play() -> tuple[str, dict[str, Any]]:
        return said(await anext(scene.stream()))

    kind, data = played(play)
    assert kind == "status"
    assert data["pools"]["default"]["algorithm"] == "least_in_flight"


def test_the_status_comes_again(scene: Scene) -> None:
    async def play() -> int:
        stream = scene.stream()
        await next_of(stream, "status")
        scene.board.version = 9
        return int((await next_of(stream, "status"))["version"])

    assert played(play) == 9


def test_what_happens_is_told_at_once(scene: Scene) -> None:
    async def play() -> dict[str, Any]:
        stream = scene.stream()
        await next_of(stream, "status")
        scene.board.events.publish("flip", {"pool": "default", "target": "a", "from": "up", "to": "down"})
        kind, data = said(await anext(stream))
        assert kind == "flip"
        return data

    assert played(play)["to"] == "down"


def test_whoever_comes_back_is_told_what_was_missed(scene: Scene) -> None:
    async def play() -> list[dict[str, Any]]:
        for number in range(4):
            scene.board.events.publish("change", {"what": str(number)})
        stream = scene.stream(last=2)
        return [said(await anext(stream))[1] for _ in range(2)]

    assert [(data["id"], data["what"]) for data in played(play)] == [(3, "2"), (4, "3")]


def test_a_slow_reader_loses_the_oldest_and_goes_on(scene: Scene) -> None:
    async def play() -> dict[str, Any]:
        stream = scene.stream()
        await next_of(stream, "status")
        for number in range(WAITING + 5):
            scene.board.events.publish("change", {"number": number})
        return await next_of(stream, "change")

    assert played(play)["number"] == 5


def test_a_stream_ends_with_the_validity_of_the_token(scene: Scene) -> None:
    async def play() -> int:
        return len([piece async for piece in scene.stream(remaining=0.0)])

    assert played(play) == 0


def test_all_streams_end_together_and_at_once(scene: Scene) -> None:
    async def play() -> None:
        streams = [scene.stream() for _ in range(3)]
        for stream in streams:
            await next_of(stream, "status")
        scene.streams.end()
        for stream in streams:
            assert [said(piece)[0] async for piece in stream] == []

    played(play)


def test_no_stream_begins_after_the_end(scene: Scene) -> None:
    async def play() -> list[bytes]:
        scene.streams.end()
        return [piece async for piece in scene.stream()]

    assert played(play) == []


def test_a_stream_that_is_left_holds_no_subscription(scene: Scene) -> None:
    async def play() -> None:
        stream = scene.stream()
        await next_of(stream, "status")
        await stream.aclose()  # type: ignore[attr-defined]  # it is a generator
        assert scene.board.events._subscriptions == []
        assert scene.streams._open == set()

    played(play)


def test_streams_of_the_same_moment_share_one_status(scene: Scene) -> None:
    made = []
    status = scene.board.status

    def counted() -> dict[str, Any]:
        made.append(1)
        return status()

    scene.board.status = counted  # type: ignore[method-assign]  # to count the calls
    assert scene.streams._status_now(cast("Supervisor", scene.board), 7.1) == scene.streams._status_now(
        cast("Supervisor", scene.board), 7.9
    )
    assert len(made) == 1
    scene.streams._status_now(cast("Supervisor", scene.board), 8.0)
    assert len(made) == 2


def followed(api: Api, **fields: str) -> bytes:
    """What a client is told that asks for the events and leaves after the first status."""

    named = [("host", "localhost"), ("authorization", f"Bearer {api.token('read')}"), *fields.items()]

    async def play() -> bytes:
        answer = await perform(api.app, Call("GET", "/v1/events", named), leaves=True)
        assert answer.status == 200
        assert answer.get("content-type") == "text/event-stream; charset=utf-8"
        assert answer.get("cache-control") == "no-store"
        assert answer.get("x-accel-buffering") == "no"
        return answer.body

    return played(play)


def test_the_events_are_served_as_a_stream(api: Api) -> None:
    assert followed(api).startswith(b"event: status\n")


@pytest.mark.parametrize("last", ["0", "1"])
def test_last_event_id_brings_what_was_missed(api: Api, last: str) -> None:
    for number in range(2):
        api.board.events.publish("change", {"number": number})
    assert followed(api, **{"last-event-id": last}).startswith(b"id: %d\n" % (int(last) + 1))


@pytest.mark.parametrize("last", ["", "x", "-1", "\u00b2"])
def test_without_a_number_nothing_old_is_told(api: Api, last: str) -> None:
    api.board.events.publish("change", {})
    assert followed(api, **{"last-event-id": last}).startswith(b"event: status\n")


def test_a_token_that_expires_ends_the_stream(tmp_path: Path) -> None:
    # The gate looks at the first of these moments, the stream at the second.
    moments = iter([0.0, 3600.0])
    api = Api(tmp_path, clocks=Clocks(wall=lambda: datetime.now(UTC).timestamp() + next(moments)))
    answer = api.ask("GET", "/v1/events")
    assert (answer.status, answer.body) == (200, b"")


def test_what_happened_lately_can_be_read_at_once(api: Api) -> None:
    api.board.events.publish("worker", {"pid": 7, "row": 0, "event": "started"})
    (event,) = api.ask("GET", "/v1/events/recent", role="read").json["events"]
    assert (event["id"], event["kind"], event["pid"]) == (1, "worker", 7)
