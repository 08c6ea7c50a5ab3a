"""Who leads, who follows, and who goes next; in one worker and over two."""

import os
import signal
from functools import partial

import pytest

from equipoise.state.cache_flights import Flights, Follower
from equipoise.state.cache_lock import Locks
from equipoise.state.cache_store import ALONE, FAILED, FOLLOW, LEAD, READY, STORED, UNSHARED
from tests.support.stores import Balancer, entry, fork, key, kill

KEY = key("k")
UNTIL = 1_000


class Waits(Follower):
    """Notes what it is told."""

    def __init__(self) -> None:
        self.told: list[int] = []

    def flight_over(self, verdict: int, now: int) -> None:
        self.told.append(int(verdict))


class FailsAtOnce(Follower):
    """Leads and fails in the same breath."""

    def __init__(self, flights: Flights, order: list[int], number: int) -> None:
        self.flights = flights
        self.order = order
        self.number = number

    def flight_over(self, verdict: int, now: int) -> None:
        assert verdict == LEAD
        self.order.append(self.number)
        self.flights.end(KEY, now, FAILED, now, 0)


class Held:
    """Another process in the middle of a change of all shards."""

    def __init__(self, balancer: Balancer) -> None:
        self.locks = Locks(balancer.memory.files[1], balancer.section.start)
        read, write = os.pipe()
        self.pid = fork(partial(self._hold, write))
        os.read(read, 1)
        for end in (read, write):
            os.close(end)

    def _hold(self, write: int) -> None:
        assert self.locks.take(0)
        os.write(write, b"x")
        signal.pause()

    def let_go(self) -> None:
        kill(self.pid)


@pytest.fixture
def balancer() -> Balancer:
    return Balancer()


@pytest.fixture
def flights(balancer: Balancer) -> Flights:
    return Flights(balancer.worker(0))


@pytest.fixture
def others(balancer: Balancer) -> Flights:
    """Another worker's."""
    return Flights(balancer.worker(1))


def join(flights: Flights, count: int, now: int = 2) -> list[Waits]:
    waiting = [Waits() for _ in range(count)]
    assert {flights.enter(KEY, each, now, UNTIL, 0) for each in waiting} == {FOLLOW}
    return waiting


def told(waiting: list[Waits]) -> list[list[int]]:
    return [each.told for each in waiting]


def test_of_a_thousand_one_leads(flights: Flights) -> None:
    verdicts = [flights.enter(KEY, Waits(), 1, UNTIL, 0) for _ in range(1_000)]
    assert [verdicts[0], *set(verdicts[1:])] == [LEAD, FOLLOW]


def test_all_look_again_when_the_leader_has_stored(balancer: Balancer, flights: Flights) -> None:
    flights.enter(KEY, Waits(), 1, UNTIL, 0)
    waiting = join(flights, 3)
    balancer.worker(0).put(KEY, entry(), 1)
    flights.end(KEY, 1, STORED, 5, 0)
    assert told(waiting) == [[READY]] * 3
    assert flights.enter(KEY, Waits(), 6, UNTIL, 0) == READY


def test_one_leads_when_the_leader_has_failed(flights: Flights) -> None:
    flights.enter(KEY, Waits(), 1, UNTIL, 0)
    waiting = join(flights, 3)
    flights.end(KEY, 1, FAILED, 5, 0)
    assert told(waiting) == [[LEAD], [], []]
    flights.end(KEY, 5, FAILED, 6, 0)
    assert told(waiting) == [[LEAD], [LEAD], []]


def test_a_thousand_that_fail_at_once_are_one_after_the_other(flights: Flights) -> None:
    flights.enter(KEY, Waits(), 1, UNTIL, 0)
    order: list[int] = []
    for number in range(1_000):
        assert flights.enter(KEY, FailsAtOnce(flights, order, number), 2, UNTIL, 0) == FOLLOW
    flights.end(KEY, 1, FAILED, 5, 0)
    assert order == list(range(1_000))
    assert flights.enter(KEY, Waits(), 6, UNTIL, 0) == LEAD


def test_all_go_alone_when_the_answer_is_not_shared(flights: Flights) -> None:
    flights.enter(KEY, Waits(), 1, UNTIL, 0)
    waiting = join(flights, 3)
    flights.end(KEY, 1, UNSHARED, 5, 500)
    assert told(waiting) == [[ALONE]] * 3
    assert [flights.enter(KEY, Waits(), now, UNTIL, 0) for now in (6, 500)] == [ALONE, LEAD]


def test_who_left_is_told_nothing(flights: Flights) -> None:
    flights.enter(KEY, Waits(), 1, UNTIL, 0)
    waiting = join(flights, 2)
    flights.leave(KEY, waiting[0])
    flights.leave(KEY, Waits())
    flights.leave(key("other"), waiting[1])
    flights.end(KEY, 1, FAILED, 5, 0)
    assert told(waiting) == [[], [LEAD]]


def test_a_failure_that_nobody_waits_for_leaves_the_next_to_lead(flights: Flights) -> None:
    flights.enter(KEY, Waits(), 1, UNTIL, 0)
    flights.end(KEY, 1, FAILED, 5, 0)
    assert flights.enter(KEY, Waits(), 6, UNTIL, 0) == LEAD


def test_a_leader_over_its_time_is_succeeded_and_its_end_means_nothing(flights: Flights) -> None:
    flights.enter(KEY, Waits(), 1, UNTIL, 0)
    waiting = join(flights, 2)
    flights.tick(UNTIL - 1)
    assert told(waiting) == [[], []]
    flights.tick(UNTIL)
    assert told(waiting) == [[LEAD], []]
    flights.end(KEY, 1, FAILED, UNTIL + 1, 0)
    assert told(waiting) == [[LEAD], []]


def test_a_newcomer_succeeds_a_leader_over_its_time(flights: Flights) -> None:
    flights.enter(KEY, Waits(), 1, UNTIL, 0)
    waiting = join(flights, 1)
    assert flights.enter(KEY, Waits(), UNTIL, 2 * UNTIL, 0) == LEAD
    flights.end(KEY, UNTIL, FAILED, UNTIL + 1, 0)
    assert told(waiting) == [[LEAD]]


def test_another_workers_flight_is_watched(flights: Flights, others: Flights) -> None:
    others.enter(KEY, Waits(), 1, UNTIL, 0)
    assert not others.is_watching()
    waiting = join(flights, 2)
    assert flights.is_watching()
    flights.poll(3)
    assert told(waiting) == [[], []]


def test_another_workers_answer_is_seen(balancer: Balancer, flights: Flights, others: Flights) -> None:
    others.enter(KEY, Waits(), 1, UNTIL, 0)
    waiting = join(flights, 2)
    balancer.worker(1).put(KEY, entry(), 1)
    others.end(KEY, 1, STORED, 3, 0)
    flights.poll(4)
    assert told(waiting) == [[READY]] * 2
    assert not flights.is_watching()


def test_another_workers_failure_lets_one_lead(flights: Flights, others: Flights) -> None:
    others.enter(KEY, Waits(), 1, UNTIL, 0)
    waiting = join(flights, 3)
    others.end(KEY, 1, FAILED, 3, 0)
    flights.poll(4)
    assert told(waiting) == [[LEAD], [], []]
    assert not flights.is_watching()
    flights.end(KEY, 4, FAILED, 5, 0)
    assert told(waiting) == [[LEAD], [LEAD], []]


def test_of_two_workers_that_see_a_failure_one_leads(balancer: Balancer, flights: Flights) -> None:
    balancer.worker(1).begin(KEY, 1, UNTIL, 0)
    waiting = join(flights, 1)
    balancer.worker(1).end(KEY, 1, FAILED, 0)
    assert balancer.worker(1).begin(KEY, 3, UNTIL, 0) == LEAD
    flights.poll(4)
    assert told(waiting) == [[]]
    assert flights.is_watching()


def test_another_workers_answer_for_itself_lets_all_go_alone(flights: Flights, others: Flights) -> None:
    others.enter(KEY, Waits(), 1, UNTIL, 0)
    waiting = join(flights, 2)
    others.end(KEY, 1, UNSHARED, 3, 500)
    flights.poll(4)
    assert told(waiting) == [[ALONE]] * 2


def test_the_death_of_another_worker_lets_one_lead(balancer: Balancer, flights: Flights, others: Flights) -> None:
    others.enter(KEY, Waits(), 1, UNTIL, 0)
    waiting = join(flights, 2)
    balancer.supervisor.release(1)
    flights.poll(4)
    assert told(waiting) == [[LEAD], []]


def test_another_worker_over_its_time_lets_one_lead(flights: Flights, others: Flights) -> None:
    others.enter(KEY, Waits(), 1, UNTIL, 0)
    waiting = join(flights, 2)
    flights.poll(UNTIL)
    assert told(waiting) == [[LEAD], []]


def test_a_flight_that_all_left_is_watched_no_more(flights: Flights, others: Flights) -> None:
    others.enter(KEY, Waits(), 1, UNTIL, 0)
    waiting = join(flights, 1)
    flights.leave(KEY, waiting[0])
    assert not flights.is_watching()


def test_without_a_cache_all_go_alone(flights: Flights, others: Flights) -> None:
    others.enter(KEY, Waits(), 1, UNTIL, 0)
    waiting = join(flights, 2)
    flights.close(5)
    assert told(waiting) == [[ALONE]] * 2
    assert not flights.is_watching()


def test_a_fetch_that_ends_while_the_shard_is_busy_is_ended_at_a_tick(
    balancer: Balancer, flights: Flights, others: Flights
) -> None:
    """Its claim would let all others wait for nobody until its deadline."""
    leader = Waits()
    assert flights.enter(KEY, leader, 1, UNTIL, 0) == LEAD
    held = Held(balancer)
    flights.end(KEY, 1, FAILED, 2, 0)
    held.let_go()
    assert others.enter(KEY, Waits(), 2, UNTIL, 0) == FOLLOW
    flights.tick(3)
    assert flights.enter(KEY, leader, 4, UNTIL, 0) == LEAD


def test_nobody_waits_for_one_leader_after_the_other(flights: Flights) -> None:
    flights.enter(KEY, Waits(), 1, 101, 0)
    early, late = join(flights, 2, now=2), join(flights, 1, now=60)
    flights.tick(101)
    assert (told(early), told(late)) == ([[LEAD], []], [[]])
    flights.tick(102)
    assert (told(early), told(late)) == ([[LEAD], [ALONE]], [[]])
    flights.tick(160)
    assert told(late) == [[ALONE]]


def test_one_who_waits_for_another_worker_is_let_go_too(flights: Flights, others: Flights) -> None:
    flights.enter(KEY, Waits(), 1, UNTIL * 10, 0)
    waiting = Waits()
    assert others.enter(KEY, waiting, 2, 102, 0) == FOLLOW
    others.tick(101)
    assert (waiting.told, others.is_watching()) == ([], True)
    others.tick(102)
    assert (waiting.told, others.is_watching()) == ([ALONE], False)
