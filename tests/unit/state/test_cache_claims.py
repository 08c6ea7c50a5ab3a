"""Claims of one shard."""

import mmap

import pytest

from equipoise.state.cache_claims import FREE, HELD, PASSING, Claims
from equipoise.state.cache_layout import CLAIM_WAYS, MIN_BYTES, Layout

NAME = 0xABCDEF0123456789 >> 2
LATER = 1_000


@pytest.fixture
def claims() -> Claims:
    layout = Layout(MIN_BYTES, 2)
    memory = mmap.mmap(-1, layout.size)
    return Claims(memory, memoryview(memory).cast("q"), layout.shards[0])


def test_nobody_holds_what_nobody_took(claims: Claims) -> None:
    assert claims.state(NAME, 1) == FREE


def test_a_claim_holds_until_its_deadline(claims: Claims) -> None:
    claims.take(NAME, 0, 1, LATER)
    assert [claims.state(NAME, now) for now in (1, LATER - 1, LATER)] == [HELD, HELD, FREE]


def test_a_claim_is_ended_by_the_one_who_took_it(claims: Claims) -> None:
    claims.take(NAME, 1, 5, LATER)
    assert not claims.end(NAME, 0, 5)
    assert not claims.end(NAME, 1, 4)
    assert not claims.end(NAME + 1, 1, 5)
    assert claims.state(NAME, 6) == HELD
    assert claims.end(NAME, 1, 5)
    assert claims.state(NAME, 6) == FREE


def test_a_claim_that_was_taken_over_is_not_ended_by_its_first_holder(claims: Claims) -> None:
    claims.take(NAME, 0, 1, 10)
    claims.take(NAME, 1, 10, LATER)
    assert not claims.end(NAME, 0, 1)
    assert claims.state(NAME, 11) == HELD


def test_a_key_passes_until_a_time(claims: Claims) -> None:
    claims.let_pass(NAME, 1, LATER)
    assert [claims.state(NAME, now) for now in (1, LATER)] == [PASSING, FREE]


def test_the_claims_of_a_dead_worker_end(claims: Claims) -> None:
    claims.take(NAME, 0, 1, LATER)
    claims.take(NAME + (1 << 20), 1, 1, LATER)
    claims.let_pass(NAME + (2 << 20), 1, LATER)
    claims.release(0)
    states = [claims.state(NAME + (step << 20), 2) for step in range(3)]
    assert states == [FREE, HELD, PASSING]


def test_too_many_claims_in_one_place_are_refused_until_one_ends(claims: Claims) -> None:
    """These names differ where no place is chosen by them."""
    names = [NAME + step for step in range(CLAIM_WAYS + 1)]
    taken = [claims.take(name, 0, 1, LATER) for name in names]
    assert taken == [True] * CLAIM_WAYS + [False]
    assert claims.end(names[0], 0, 1)
    assert claims.take(names[-1], 0, 1, LATER)


def test_an_overdue_claim_makes_room(claims: Claims) -> None:
    for step in range(CLAIM_WAYS):
        claims.take(NAME + step, 0, 1, 10)
    assert claims.take(NAME + CLAIM_WAYS, 0, 10, LATER)
