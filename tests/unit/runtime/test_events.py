"""Events and those who listen."""

import asyncio
from datetime import datetime

from equipoise.runtime.events import RECENT, WAITING, Events, timestamp


def publish(events: Events, count: int, first: int = 0) -> None:
    for number in range(first, first + count):
        events.publish("change", {"version": number})


def test_an_event_has_a_number_a_kind_a_time_and_its_data() -> None:
    events = Events()
    events.publish("flip", {"pool": "p"})
    (event,) = events.recent()
    assert {key: event[key] for key in ("id", "kind", "pool")} == {"id": 1, "kind": "flip", "pool": "p"}
    assert datetime.fromisoformat(event["time"]).tzinfo is not None


def test_the_last_events_are_remembered_in_order() -> None:
    events = Events()
    publish(events, RECENT + 5)
    assert [event["id"] for event in events.recent()] == list(range(6, RECENT + 6))


def test_every_subscriber_hears_what_happens_from_then_on() -> None:
    async def run() -> None:
        events = Events()
        publish(events, 1)
        with events.subscribe() as one, events.subscribe() as other:
            publish(events, 2, first=1)
            for stream in (one, other):
                assert [(await anext(stream))["version"] for _ in range(2)] == [1, 2]

    asyncio.run(run())


def test_a_subscriber_waits_for_what_has_not_happened_yet() -> None:
    async def run() -> None:
        events = Events()
        with events.subscribe() as stream:
            asyncio.get_running_loop().call_soon(publish, events, 1)
            async with asyncio.timeout(10):
                assert (await anext(stream))["id"] == 1

    asyncio.run(run())


def test_a_slow_subscriber_loses_the_oldest_and_delays_nobody() -> None:
    async def run() -> None:
        events = Events()
        with events.subscribe() as slow:
            publish(events, WAITING + 3)
            assert slow.lost == 3
            assert [(await anext(slow))["version"] for _ in range(WAITING)] == list(range(3, WAITING + 3))

    asyncio.run(run())


def test_who_has_left_is_told_nothing() -> None:
    async def run() -> None:
        events = Events()
        with events.subscribe() as stream:
            pass
        publish(events, WAITING + 1)
        assert stream.lost == 0

    asyncio.run(run())


def test_a_timestamp_is_utc_with_milliseconds() -> None:
    text = timestamp()
    assert text.endswith("+00:00")
    assert len(text) == len("2026-01-01T00:00:00.000+00:00")
