"""What every algorithm keeps to, for any pool and any history of it."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from equipoise.policy.balance import ALGORITHMS, TRY_EVERY, Algorithm, smooth_order
from equipoise.state.ledger import EXACT_TARGETS, Lease, Ledger, PoolLoads
from tests.support.ledgers import algorithm, ledgers, pool_loads, request

REQUEST = request()
SECOND = 1_000_000_000
MS = 1_000_000


@dataclass
class History:
    """One pool, seen by all workers of a balancer, and the leases that each of them holds."""

    name: str
    weights: list[int]
    limits: list[int]
    workers: int
    seed: int = 1
    now: int = 1_000 * SECOND
    held: list[tuple[int, Lease]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.supervisor: Ledger
        self.supervisor, rows = ledgers(self.workers)
        self.loads = [pool_loads(row, self.weights, self.limits) for row in rows]
        draw = Random(self.seed).random
        self.algorithms = [algorithm(self.name, loads, draw) for loads in self.loads]
        self.counts = [0] * len(self.weights)

    def free(self, skip: list[int] | None) -> list[int]:
        """Who may be picked, by what this test itself has counted."""
        below = [i for i, limit in enumerate(self.limits) if not limit or self.counts[i] < limit]
        return [i for i in below if skip is None or i not in skip]

    def pick(self, worker: int, skip: list[int] | None) -> int:
        """A worker picks, and takes what it picked."""
        self.now += MS
        worker %= self.workers
        loads = self.loads[worker]
        loads.refresh(self.now)
        index = int(self.algorithms[worker].pick(REQUEST, self.now, skip))
        if index >= 0:
            self.held.append((index, loads.take(index)))
            self.counts[index] += 1
        return index

    def release(self, which: int) -> None:
        if self.held:
            index, lease = self.held.pop(which % len(self.held))
            self.counts[index] -= 1
            lease.release()

    def check_counts(self) -> None:
        assert [self.supervisor.in_flight(i + 1) for i in range(len(self.weights))] == self.counts
        assert min(self.counts, default=0) >= 0


weights = st.lists(st.integers(1, 8), min_size=1, max_size=7)
equal_weights = st.builds(lambda weight, size: [weight] * size, st.integers(1, 5), st.integers(1, 7))
steps = st.lists(
    st.one_of(
        st.tuples(st.just("pick"), st.integers(0, 3), st.none() | st.lists(st.integers(0, 6), max_size=4)),
        st.tuples(st.just("release"), st.integers(0, 50), st.none()),
    ),
    max_size=60,
)


@st.composite
def histories(draw: st.DrawFn, names: st.SearchStrategy[str], limited: bool = True) -> History:
    all_weights = draw(equal_weights | weights)
    limit = st.just(0) | st.integers(1, 4) if limited else st.just(0)
    limits = draw(st.lists(limit, min_size=len(all_weights), max_size=len(all_weights)))
    return History(draw(names), all_weights, limits, draw(st.integers(1, 3)), draw(st.integers(0, 99)))


@given(histories(st.sampled_from(sorted(ALGORITHMS))), steps)
def test_a_pick_is_free_and_nothing_is_picked_only_when_nobody_is(
    history: History, course: list[tuple[str, int, list[int] | None]]
) -> None:
    for step, number, skip in course:
        if step == "release":
            history.release(number)
        else:
            free = history.free(skip)
            index = history.pick(number, skip)
            assert index in free if free else index == -1
        history.check_counts()
    while history.held:
        history.release(0)
    history.check_counts()


@given(histories(st.just("least_in_flight")), steps)
def test_least_in_flight_picks_a_minimum_by_brute_force(
    history: History, course: list[tuple[str, int, list[int] | None]]
) -> None:
    for step, number, skip in course:
        if step == "release":
            history.release(number)
            continue
        before = list(history.counts)
        free = history.free(skip)
        index = history.pick(number, skip)
        if free:
            # Cross multiplied, as a quotient would round.
            weight = history.weights
            assert all(before[index] * weight[i] <= before[i] * weight[index] for i in free)


@given(equal_weights, st.integers(1, 3))
def test_equals_take_turns_through_all(equal: list[int], workers: int) -> None:
    history = History("least_in_flight", equal, [0] * len(equal), workers)
    found = []
    for turn in range(3 * len(equal)):
        found.append(history.pick(turn, None))
        history.release(0)
    assert set(Counter(found).values()) == {3}


@given(weights, st.integers(1, 20))
def test_equals_take_turns_by_weight(some: list[int], rounds: int) -> None:
    assume(len(set(some)) > 1)
    history = History("least_in_flight", some, [0] * len(some), 1)
    found: Counter[int] = Counter()
    for _ in range(rounds * sum(some)):
        found[history.pick(0, None)] += 1
        history.release(0)
    # Stride scheduling: each has had its share, give or take one.
    assert all(abs(found[i] - rounds * weight) <= 1 for i, weight in enumerate(some))


@given(weights, st.integers(1, 3), st.integers(0, 30))
def test_least_in_flight_fills_up_in_proportion_to_weight(some: list[int], workers: int, rounds: int) -> None:
    history = History("least_in_flight", some, [0] * len(some), workers)
    for turn in range(rounds * sum(some)):
        history.pick(turn, None)
    assert history.counts == [rounds * weight for weight in some]


@given(st.integers(EXACT_TARGETS + 1, 3 * EXACT_TARGETS), st.integers(1, 4))
def test_a_large_pool_of_one_worker_is_balanced_although_it_is_read_rarely(size: int, rounds: int) -> None:
    supervisor, (row,) = ledgers(1)
    loads = pool_loads(row, [1] * size)
    algo = algorithm("least_in_flight", loads)
    for _ in range(rounds * size):
        loads.refresh(0)
        loads.take(int(algo.pick(REQUEST, 0, None)))
    assert {supervisor.in_flight(1 + i) for i in range(size)} == {rounds}


@given(weights, st.integers(1, 3), st.integers(0, 3))
def test_round_robin_gives_exact_shares_in_every_cycle(some: list[int], workers: int, offset: int) -> None:
    history = History("round_robin", some, [0] * len(some), workers)
    cycle = len(smooth_order(some))
    for _ in range(offset):
        history.pick(0, None)
    found = Counter(history.pick(turn, None) for turn in range(2 * cycle))
    assert all(found[i] * sum(some) == 2 * cycle * weight for i, weight in enumerate(some))


@given(weights)
def test_a_cycle_is_as_even_as_it_can_be(some: list[int]) -> None:
    """No prefix of it gives anyone one more than its share."""
    order = smooth_order(some)
    found: Counter[int] = Counter()
    for length, index in enumerate(order, 1):
        found[index] += 1
        assert found[index] - 1 < length * some[index] / sum(some) + 1


@given(equal_weights | weights, st.integers(0, 10_000))
def test_random_stays_within_its_bounds(some: list[int], seed: int) -> None:
    """6 standard deviations: a false alarm in 500 million shares."""
    history = History("random", some, [0] * len(some), 1, seed=seed)
    draws = 1_000
    found: Counter[int] = Counter()
    for _ in range(draws):
        found[history.pick(0, None)] += 1
        history.release(0)
    for i, weight in enumerate(some):
        share = weight / sum(some)
        assert abs(found[i] - draws * share) <= 6 * (draws * share * (1 - share)) ** 0.5 + 1


# response_time


class Timed:
    """A pool whose targets answer at their own speed; the means are what the supervisor would publish."""

    def __init__(self, ms: list[int], samples: list[bool]) -> None:
        _, (row,) = ledgers(1)
        self.row = row
        self.loads: PoolLoads = pool_loads(row, [1] * len(ms))
        self.algorithm: Algorithm = algorithm("response_time", self.loads)
        self.now = 1_000 * SECOND
        self.publish([each if there else 0 for each, there in zip(ms, samples, strict=True)])

    def publish(self, ms: list[int]) -> None:
        for i, each in enumerate(ms):
            self.row.publish_mean(i + 1, each * MS)
        self.loads.refresh_means()

    def picks(self, count: int, apart_ns: int, until: Callable[[int], bool] | None = None) -> Counter[int]:
        found: Counter[int] = Counter()
        for _ in range(count):
            self.now += apart_ns
            self.loads.refresh(self.now)
            index = int(self.algorithm.pick(REQUEST, self.now, None))
            self.loads.take(index).release()
            found[index] += 1
            if until is not None and until(index):
                break
        return found


milliseconds = st.lists(st.integers(1, 60_000), min_size=1, max_size=6)


@given(milliseconds, st.data(), st.integers(10 * MS, 2 * SECOND))
def test_response_time_eventually_tries_everyone(ms: list[int], data: st.DataObject, apart_ns: int) -> None:
    """Whoever has been slow, and whoever has no sample."""
    samples = data.draw(st.lists(st.booleans(), min_size=len(ms), max_size=len(ms)))
    timed = Timed(ms, samples)
    # Everyone is neglected for a second within so many picks, and then comes its try.
    enough = max(TRY_EVERY, 1 + 2 * SECOND // apart_ns) * (len(ms) + 1)
    assert timed.picks(enough, apart_ns).keys() == set(range(len(ms)))


@given(st.integers(2, 6), st.integers(10, 1_000))
def test_response_time_gives_one_that_healed_its_share_back(size: int, slowness: int) -> None:
    """Its slow answers have left the window, and what is in it are its tries."""
    timed = Timed([10] * (size - 1) + [10 * slowness], [True] * size)
    slow = size - 1
    tried = timed.picks(2_000, 10 * MS)[slow]
    assert 0 < tried <= 2_000 // TRY_EVERY
    timed.publish([10] * size)
    healed = timed.picks(100 * size, 10 * MS)
    assert healed[slow] >= 90


@given(st.integers(2, 6))
def test_response_time_tries_one_whose_samples_have_all_left_the_window(size: int) -> None:
    timed = Timed([10] * size, [True] * (size - 1) + [False])
    assert size - 1 in timed.picks(2 * size, MS)


@given(st.integers(1, 7), st.integers(1, 5))
def test_response_time_counts_in_flight_while_nobody_has_samples(size: int, rounds: int) -> None:
    history = History("response_time", [1] * size, [0] * size, 1)
    for turn in range(rounds * size):
        history.pick(turn, None)
        assert max(history.counts) - min(history.counts) <= 1 or turn >= TRY_EVERY


@pytest.mark.parametrize("name", sorted(ALGORITHMS))
def test_a_pool_of_one_has_no_choice(name: str) -> None:
    history = History(name, [3], [0], 1)
    assert {history.pick(turn, None) for turn in range(50)} == {0}
