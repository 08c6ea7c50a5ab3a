"""Octets of a record: what comes back, and what is no record."""

import mmap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from equipoise.state.cache_layout import GRAIN
from equipoise.state.cache_record import CELL_AT, CHECKED_BODY, FIELDS, Entry, Reader, record_length, seal
from tests.support.stores import entry, key, parts

SIZE = 64 * 1024
CELL = 1 << 62 | 12345
KEY = key("k")


def written(stored: Entry, at: int = 0, name: bytes = KEY) -> mmap.mmap:
    memory = mmap.mmap(-1, SIZE)
    octets = seal(name, stored, 7) + stored.body
    memory[at : at + len(octets)] = octets
    memory[at + CELL_AT : at + CELL_AT + 8] = CELL.to_bytes(8, "little")
    return memory


def read(memory: mmap.mmap, at: int = 0, name: bytes = KEY) -> tuple[Entry | None, bool]:
    reader = Reader(memory, 0)
    return reader.read(at, SIZE, CELL, name), reader.is_damaged


@given(
    path=st.binary(max_size=300),
    head=st.binary(max_size=2_000),
    body=st.binary(max_size=64) | st.integers(0, 40_000).map(lambda size: b"b" * size),
    times=st.tuples(st.integers(0, 1 << 62), st.integers(0, 1 << 62)),
)
def test_what_is_written_is_read(path: bytes, head: bytes, body: bytes, times: tuple[int, int]) -> None:
    stored = Entry(path, head, body, *times)
    assert parts(read(written(stored))[0]) == parts(stored)


@given(path=st.binary(max_size=40), body=st.binary(max_size=40))
def test_a_record_is_whole_grains(path: bytes, body: bytes) -> None:
    stored = entry(body, path)
    length = int(record_length(KEY, stored))
    assert length % GRAIN == 0
    assert 0 <= length - len(seal(KEY, stored, 0)) - len(body) < GRAIN


def test_when_it_was_begun_is_kept() -> None:
    memory = written(entry())
    reader = Reader(memory, 0)
    reader.read(0, SIZE, CELL, KEY)
    assert reader.begun_ns == 7


def test_the_record_of_another_key_is_a_miss_without_damage() -> None:
    assert read(written(entry(), name=key("other"))) == (None, False)


def test_an_empty_place_is_damage() -> None:
    assert read(mmap.mmap(-1, SIZE)) == (None, True)


def test_another_cells_record_is_damage() -> None:
    memory = written(entry())
    memory[CELL_AT] ^= 1
    assert read(memory) == (None, True)


@given(at=st.integers(0, FIELDS + 32 + 1 + 4 + 100 - 1), bit=st.integers(0, 7))
def test_any_bit_that_flips_is_a_miss(at: int, bit: int) -> None:
    """But in the length, which only the ring's owner reads; a larger one is still enough."""
    memory = written(entry(b"y" * 100))
    memory[at] ^= 1 << bit
    found, _ = read(memory)
    assert found is None or at < CELL_AT


@pytest.mark.parametrize("at", [0, CHECKED_BODY, -1])
def test_a_large_body_is_checked_at_both_ends(at: int) -> None:
    body = b"y" * (2 * CHECKED_BODY + 1)
    memory = written(entry(body))
    start = len(seal(KEY, entry(body), 7))
    memory[start + at % len(body)] ^= 1
    assert (read(memory)[0] is None) == (at != CHECKED_BODY)


def test_nothing_behind_the_rings_end_is_read() -> None:
    memory = written(entry(b"y" * 500))
    reader = Reader(memory, 0)
    assert reader.read(0, 512, CELL, KEY) is None
    assert reader.is_damaged


@given(octets=st.binary(min_size=200, max_size=200), at=st.integers(0, SIZE - 1).map(lambda at: at // 8 * 8))
def test_no_octets_are_an_error(octets: bytes, at: int) -> None:
    memory = mmap.mmap(-1, SIZE)
    end = min(at + 200, SIZE)
    memory[at:end] = octets[: end - at]
    if at + CELL_AT + 8 <= SIZE:
        memory[at + CELL_AT : at + CELL_AT + 8] = CELL.to_bytes(8, "little")
    assert read(memory, at)[0] is None


# What is remembered


def again(reader: Reader, name: bytes = KEY) -> Entry | None:
    return reader.read(0, SIZE, CELL, name)


def replaced(memory: mmap.mmap, stored: Entry, begun: int = 7) -> None:
    octets = seal(KEY, stored, begun) + stored.body
    memory[: len(octets)] = octets
    memory[CELL_AT : CELL_AT + 8] = CELL.to_bytes(8, "little")


def test_a_small_record_that_stands_there_still_is_the_same_object() -> None:
    memory = written(entry(b"body"))
    reader = Reader(memory, SIZE)
    assert again(reader) is again(reader)
    assert not reader.is_damaged


def test_without_room_nothing_is_remembered() -> None:
    memory = written(entry(b"body"))
    reader = Reader(memory, 0)
    assert again(reader) is not again(reader)


def test_a_large_body_is_not_remembered() -> None:
    memory = written(entry(b"b" * (CHECKED_BODY + 1)))
    reader = Reader(memory, SIZE)
    assert again(reader) is not again(reader)


@pytest.mark.parametrize(
    ("stored", "begun"),
    [(entry(b"new!"), 7), (entry(b"body", b"/other"), 7), (entry(b"body"), 8)],
    ids=["body", "path", "begun"],
)
def test_another_record_in_the_same_place_is_read_anew(stored: Entry, begun: int) -> None:
    memory = written(entry(b"body"))
    reader = Reader(memory, SIZE)
    again(reader)
    replaced(memory, stored, begun)
    assert parts(again(reader)) == parts(stored)
    assert reader.begun_ns == begun


def test_what_is_remembered_is_a_miss_for_another_key() -> None:
    memory = written(entry(b"body"))
    reader = Reader(memory, SIZE)
    again(reader)
    assert again(reader, key("other")) is None


def test_what_is_forgotten_is_read_anew() -> None:
    memory = written(entry(b"body"))
    reader = Reader(memory, SIZE)
    first = again(reader)
    reader.forget()
    assert again(reader) is not first


def test_no_more_is_remembered_than_there_is_room_for() -> None:
    body = b"b" * 1_000
    memory = mmap.mmap(-1, SIZE)
    reader = Reader(memory, 8_000)
    first: list[Entry] = []
    for place in range(20):
        at = place * 2_048
        octets = seal(KEY, entry(body), 7) + body
        memory[at : at + len(octets)] = octets
        memory[at + CELL_AT : at + CELL_AT + 8] = (CELL + place).to_bytes(8, "little")
        found = reader.read(at, SIZE, CELL + place, KEY)
        assert found is not None
        first.append(found)
    kept = [reader.read(place * 2_048, SIZE, CELL + place, KEY) is first[place] for place in reversed(range(20))]
    assert kept[0]
    assert 1_000 * sum(kept) < 8_000
