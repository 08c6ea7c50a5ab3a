"""Where things lie in a section, and what an index cell says."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from equipoise.state.cache_layout import (
    GRAIN,
    MAIN,
    MIN_BYTES,
    PAGE,
    SHARD_CELLS,
    SMALL,
    TAG_MASK,
    TAG_SHIFT,
    Layout,
    make_cell,
    position_of,
    ring_of,
)

SIZES = st.integers(MIN_BYTES, 1 << 33)


@given(max_bytes=SIZES, rows=st.integers(1, 64))
def test_the_parts_follow_each_other_and_stay_inside(max_bytes: int, rows: int) -> None:
    layout = Layout(max_bytes, rows)
    marks = [8 * int(layout.counters)]
    for place in layout.shards:
        marks += [int(place.header), int(place.header) + 8 * SHARD_CELLS, int(place.index)]
        marks += [int(place.uses), int(place.ghosts), int(place.claims), int(place.small), int(place.main)]
        marks.append(int(place.main + place.main_size))
    assert marks == sorted(marks)
    assert marks[-1] <= layout.size <= max_bytes
    assert layout.size > max_bytes - PAGE


@given(max_bytes=SIZES)
def test_rings_begin_and_end_at_grains(max_bytes: int) -> None:
    for place in Layout(max_bytes, 2).shards:
        assert not {int(each) % GRAIN for each in (place.small, place.small_size, place.main, place.main_size)} - {0}


@given(max_bytes=SIZES)
def test_bookkeeping_takes_at_most_a_tenth_of_what_is_not_tiny(max_bytes: int) -> None:
    layout = Layout(max_bytes, 4)
    rings = sum(int(place.small_size + place.main_size) for place in layout.shards)
    assert rings > layout.size * (0.9 if max_bytes >= 1 << 20 else 0.7)


@given(max_bytes=SIZES)
def test_an_entry_may_take_a_twentieth_of_the_memory(max_bytes: int) -> None:
    assert Layout(max_bytes, 4).max_entry > max_bytes // 20


@pytest.mark.parametrize("max_bytes", [0, -1, MIN_BYTES - 1])
def test_too_little_memory_is_an_error_that_names_the_least(max_bytes: int) -> None:
    with pytest.raises(ValueError, match=str(MIN_BYTES)):
        Layout(max_bytes, 1)


def test_counters_of_too_many_workers_leave_no_room() -> None:
    with pytest.raises(ValueError, match="2000 workers"):
        Layout(MIN_BYTES, 2_000)


@given(ring=st.sampled_from([SMALL, MAIN]), tag=st.integers(0, TAG_MASK), grains=st.integers(0, (1 << 42) - 1))
def test_a_cell_tells_its_ring_tag_and_position(ring: int, tag: int, grains: int) -> None:
    cell = int(make_cell(ring, tag, grains * GRAIN))
    assert 0 < cell < 1 << 63
    assert (int(ring_of(cell)), (cell >> TAG_SHIFT) & TAG_MASK, int(position_of(cell))) == (ring, tag, grains * GRAIN)
