"""The algorithms, case by case; tests/property/test_balance.py has what holds for every case."""

from collections import Counter
from collections.abc import Callable, Sequence
from random import Random

import pytest

from equipoise.policy.balance import ALGORITHMS, MAX_CYCLE, TRY_EVERY, Algorithm, Loads, smooth_order
from equipoise.state.ledger import PoolLoads
from tests.support.algorithms import Last
from tests.support.ledgers import algorithm, alone, ledgers, pool_loads, request

REQUEST = request()
SECOND = 1_000_000_000
START = 1_000 * SECOND


def picks(
    algo: Algorithm, loads: PoolLoads, count: int, hold: bool = False, skip: list[int] | None = None
) -> list[int]:
    """So many picks in a row, each released before the next or all of them held."""
    found = []
    for _ in range(count):
        loads.refresh(START)
        index = int(algo.pick(REQUEST, START, skip))
        found.append(index)
        if index >= 0:
            lease = loads.take(index)
            if not hold:
                lease.release()
    return found


@pytest.mark.parametrize("name", ALGORITHMS)
def test_an_empty_pool_has_nobody_to_pick(name: str) -> None:
    assert picks(algorithm(name, alone([])), alone([]), 1) == [-1]


@pytest.mark.parametrize("name", ALGORITHMS)
def test_nobody_is_picked_when_all_are_to_be_skipped(name: str) -> None:
    loads = alone([1, 2])
    assert picks(algorithm(name, loads), loads, 2, skip=[0, 1]) == [-1, -1]


@pytest.mark.parametrize("name", ALGORITHMS)
def test_nobody_is_picked_beyond_the_limits(name: str) -> None:
    loads = alone([1, 1], limits=[2, 1])
    found = picks(algorithm(name, loads), loads, 5, hold=True)
    assert Counter(found) == {0: 2, 1: 1, -1: 2}


@pytest.mark.parametrize("name", ALGORITHMS)
def test_an_algorithm_says_what_it_promises(name: str) -> None:
    assert len(ALGORITHMS[name].promise) > 20


def test_the_base_algorithm_picks_nothing_silently() -> None:
    with pytest.raises(AssertionError):
        Algorithm(alone([1]), Random(1).random).pick(REQUEST, START, None)


def test_a_users_algorithm_sees_the_loads_and_the_request() -> None:
    loads = alone([1, 1, 1], limits=[0, 0, 1])
    algo = Last(loads, Random(1).random)
    assert picks(algo, loads, 3, hold=True) == [2, 1, 1]


# round_robin


def test_round_robin_goes_round() -> None:
    loads = alone([1, 1, 1])
    assert picks(algorithm("round_robin", loads), loads, 7) == [0, 1, 2, 0, 1, 2, 0]


def test_round_robin_by_weight_makes_no_bursts() -> None:
    loads = alone([5, 1, 1])
    assert picks(algorithm("round_robin", loads), loads, 7) == [0, 0, 1, 0, 2, 0, 0]


def test_round_robin_passes_over_the_one_to_skip() -> None:
    loads = alone([1, 1, 1])
    assert picks(algorithm("round_robin", loads), loads, 3, skip=[1]) == [0, 2, 2]


def test_round_robin_goes_on_where_the_other_workers_are() -> None:
    _, rows = ledgers(2)
    mine, theirs = pool_loads(rows[0], [1, 1, 1]), pool_loads(rows[1], [1, 1, 1])
    one, other = algorithm("round_robin", mine), algorithm("round_robin", theirs)
    turns = [picks(one, mine, 1), picks(other, theirs, 1), picks(other, theirs, 1), picks(one, mine, 1)]
    assert turns == [[0], [1], [2], [0]]


@pytest.mark.parametrize(
    ("weights", "order"),
    [
        ([1], [0]),
        ([7], [0]),
        ([3, 3], [0, 1]),
        ([2, 4], [1, 0, 1]),
        ([5, 1, 1], [0, 0, 1, 0, 2, 0, 0]),
        ([], []),
    ],
)
def test_one_cycle_of_weights(weights: list[int], order: list[int]) -> None:
    assert smooth_order(weights) == order


def test_a_cycle_of_huge_weights_stays_short_and_leaves_nobody_out() -> None:
    order = smooth_order([1, 1_000_000, 2_000_000])
    shares = Counter(order)
    assert len(order) <= MAX_CYCLE
    assert shares.keys() == {0, 1, 2}
    assert abs(shares[2] - 2 * shares[1]) <= 2


# random


def scripted(*numbers: float) -> Callable[[], float]:
    left = list(numbers)
    return lambda: left.pop(0)


def test_random_takes_what_is_drawn() -> None:
    loads = alone([1, 1, 1, 1])
    algo = algorithm("random", loads, scripted(0.0, 0.24, 0.25, 0.74, 0.75, 0.999999))
    assert picks(algo, loads, 6) == [0, 0, 1, 2, 3, 3]


def test_random_by_weight_takes_what_is_drawn() -> None:
    loads = alone([1, 2, 1])
    algo = algorithm("random", loads, scripted(0.0, 0.24, 0.25, 0.74, 0.75, 0.999999))
    assert picks(algo, loads, 6) == [0, 0, 1, 1, 2, 2]


def test_random_draws_among_the_free_only() -> None:
    loads = alone([1, 1, 1])
    algo = algorithm("random", loads, scripted(0.0, 0.49, 0.5, 0.99))
    assert picks(algo, loads, 4, skip=[1]) == [0, 0, 2, 2]


# least_in_flight


def held(loads: PoolLoads, counts: Sequence[int]) -> None:
    for index, count in enumerate(counts):
        for _ in range(count):
            loads.take(index)


def test_least_in_flight_takes_the_least_loaded() -> None:
    loads = alone([1, 1, 1])
    held(loads, [3, 1, 2])
    assert picks(algorithm("least_in_flight", loads), loads, 4, hold=True) == [1, 1, 2, 0]


def test_least_in_flight_counts_all_workers() -> None:
    _, rows = ledgers(2)
    mine, theirs = pool_loads(rows[0], [1, 1]), pool_loads(rows[1], [1, 1])
    held(theirs, [5, 0])
    assert picks(algorithm("least_in_flight", mine), mine, 5, hold=True) == [1] * 5


def test_least_in_flight_is_in_proportion_to_weight() -> None:
    loads = alone([3, 1])
    found = picks(algorithm("least_in_flight", loads), loads, 8, hold=True)
    assert Counter(found) == {0: 6, 1: 2}


def test_equals_take_turns_in_proportion_to_weight() -> None:
    loads = alone([3, 1])
    found = picks(algorithm("least_in_flight", loads), loads, 400)
    assert Counter(found) == {0: 300, 1: 100}


def test_equals_take_turns_when_one_of_them_is_to_be_skipped() -> None:
    loads = alone([1, 1, 1])
    assert Counter(picks(algorithm("least_in_flight", loads), loads, 10, skip=[0])) == {1: 5, 2: 5}


def test_one_that_was_not_among_the_equals_for_long_saves_up_no_turns() -> None:
    loads = alone([2, 1])
    algo = algorithm("least_in_flight", loads)
    busy = [loads.take(0) for _ in range(4)]
    picks(algo, loads, 100)
    for lease in busy:
        lease.release()
    found = picks(algo, loads, 9)
    assert Counter(found) == {0: 6, 1: 3}


# response_time


def means(loads: Loads, *ms: float) -> None:
    for index, each in enumerate(ms):
        loads.mean[index] = int(each * 1_000_000)


def test_response_time_prefers_the_fast_in_proportion() -> None:
    loads = alone([1, 1])
    means(loads, 10, 30)
    algo = algorithm("response_time", loads)
    found = picks(algo, loads, TRY_EVERY - 1, hold=True)
    assert 13 <= Counter(found)[0] <= 15, "mean x (in flight + 1) of both stays as equal as it can"


def test_response_time_without_any_sample_goes_by_the_number_in_flight() -> None:
    loads = alone([1, 1, 1])
    found = picks(algorithm("response_time", loads), loads, 15, hold=True)
    assert Counter(found) == {0: 5, 1: 5, 2: 5}


def test_response_time_is_in_proportion_to_weight() -> None:
    loads = alone([3, 1])
    found = picks(algorithm("response_time", loads), loads, 16, hold=True)
    assert Counter(found) == {0: 12, 1: 4}


def test_response_time_takes_one_without_samples_for_average() -> None:
    loads = alone([1, 1, 1])
    means(loads, 10, 30, 0)
    found = picks(algorithm("response_time", loads), loads, 6, hold=True)
    assert found == [0, 0, 2, 0, 1, 0] or Counter(found)[2] >= 1


def test_response_time_tries_one_that_nobody_chose_for_a_second() -> None:
    loads = alone([1, 1])
    means(loads, 1, 10_000)
    algo = algorithm("response_time", loads)
    now = START
    found = []
    for _ in range(5 * TRY_EVERY):
        now += SECOND // 10
        found.append(int(algo.pick(REQUEST, now, None)))
    assert Counter(found)[1] == 5


def test_response_time_tries_are_few_in_a_quiet_pool() -> None:
    loads = alone([1, 1])
    means(loads, 1, 10_000)
    algo = algorithm("response_time", loads)
    found = [int(algo.pick(REQUEST, START + n * 10 * SECOND, None)) for n in range(100)]
    assert Counter(found)[1] == 100 // TRY_EVERY


# Loads


def test_loads_give_the_numbers_to_choose_by() -> None:
    loads = alone([1, 1], limits=[0, 1])
    means(loads, 0, 5)
    loads.take(1)
    assert (loads.names, loads.in_flight(1), loads.mean_ns(1)) == (["t0", "t1"], 1, 5_000_000)
    assert [loads.free(i, None) for i in range(2)] == [True, False]
    assert not loads.free(0, [0])


@pytest.mark.parametrize(
    ("weights", "limits", "plain"),
    [([1, 1], [0, 0], True), ([3, 3], [0, 0], True), ([1, 2], [0, 0], False), ([1, 1], [0, 9], False), ([], [], True)],
)
def test_loads_are_plain_when_the_number_in_flight_alone_decides(
    weights: list[int], limits: list[int], plain: bool
) -> None:
    assert alone(weights, limits).plain is plain


def test_bare_loads_know_what_they_were_made_with() -> None:
    loads = Loads(["a"], [4], [9])
    loads.refresh(START)
    assert (int(loads.size), loads.in_flight(0), loads.free(0, None)) == (1, 0, True)
