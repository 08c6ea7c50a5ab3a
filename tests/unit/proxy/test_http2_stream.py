"""The open streams of a connection, found by their numbers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from equipoise.proxy.http2_stream import RING, Http2Stream, Streams
from equipoise.state.connections import Timed


def stream(number: int) -> Http2Stream:
    return Http2Stream(number, 65_535, 65_535, Timed())


@pytest.fixture
def streams() -> Streams:
    return Streams()


def test_a_stream_is_found_by_its_number(streams: Streams) -> None:
    three = stream(3)
    streams.add(three)
    assert streams.find(3) is three
    assert streams.size == 1


def test_a_stream_that_is_not_open_is_not_found(streams: Streams) -> None:
    streams.add(stream(3))
    assert streams.find(1) is None
    assert streams.find(3 + 2 * RING) is None, "it would have the same place"


def test_a_stream_that_was_removed_is_not_found(streams: Streams) -> None:
    three = stream(3)
    streams.add(three)
    streams.remove(three)
    assert streams.find(3) is None
    assert streams.size == 0


def test_streams_whose_places_are_the_same_are_both_found(streams: Streams) -> None:
    old, new = stream(3), stream(3 + 2 * RING)
    streams.add(old)
    streams.add(new)
    assert (streams.find(old.stream), streams.find(new.stream)) == (old, new)
    assert set(streams.all()) == {old, new}


def test_one_of_two_with_the_same_place_leaves_the_other(streams: Streams) -> None:
    old, new = stream(3), stream(3 + 2 * RING)
    for first, second in ((old, new), (new, old)):
        streams.add(old)
        streams.add(new)
        streams.remove(first)
        assert streams.find(first.stream) is None
        assert streams.find(second.stream) is second
        streams.remove(second)


def test_a_new_stream_is_granted_nothing_yet_and_has_said_nothing() -> None:
    fresh = stream(1)
    said = (fresh.received_end, fresh.sent_end, fresh.kept_back, fresh.full, fresh.gone)
    assert said == (False,) * 5
    assert fresh.pending is None


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 40))))
def test_the_table_is_a_dictionary_by_number(steps: list[tuple[bool, int]]) -> None:
    """Streams of a few numbers and of those with the same places, added and removed in any order."""
    streams = Streams()
    model: dict[int, Http2Stream] = {}
    for adds, choice in steps:
        number = 2 * (choice % 4) + 1 + 2 * RING * (choice // 4)
        if adds and number not in model:
            model[number] = stream(number)
            streams.add(model[number])
        elif number in model:
            streams.remove(model.pop(number))
        assert streams.size == len(model)
        assert {each.stream: each for each in streams.all()} == model
        assert all(streams.find(each) is found for each, found in model.items())
        assert number in model or streams.find(number) is None
