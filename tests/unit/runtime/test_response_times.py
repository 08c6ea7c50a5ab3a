"""The mean response time over a window of samples."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from equipoise.runtime.response_times import Means, MeanWindow


def test_there_is_no_mean_before_the_first_sample() -> None:
    assert MeanWindow().mean(100, 1) == 0


def test_there_is_no_mean_without_responses() -> None:
    window = MeanWindow()
    window.sample(500, 5)
    assert window.mean(500, 5) == 0


def test_the_mean_weighs_each_response_alike() -> None:
    window = MeanWindow()
    window.sample(0, 0)
    window.sample(1000, 1)
    assert window.mean(1000 + 9 * 100, 10) == 190


def test_what_left_the_window_no_longer_counts() -> None:
    window = MeanWindow(samples=3)
    for second in range(4):  # one response of 1000 each second
        window.sample(1000 * second, second)
    slow, count = 3000, 3
    for _ in range(3):  # then ten of 10 each second
        slow, count = slow + 100, count + 10
        window.sample(slow, count)
    assert window.mean(slow, count) == 10


def test_a_mean_is_never_mistaken_for_no_sample() -> None:
    window = MeanWindow()
    window.sample(0, 0)
    assert window.mean(0, 5) == 1


@given(
    st.lists(st.tuples(st.integers(0, 10**10), st.integers(0, 1000)), min_size=1, max_size=60),
    st.integers(1, 20),
)
def test_the_mean_is_that_of_all_responses_since_the_oldest_sample(steps: list[tuple[int, int]], size: int) -> None:
    window = MeanWindow(size)
    totals = [(0, 0)]
    for total_ns, count in steps:
        totals.append((totals[-1][0] + total_ns, totals[-1][1] + count))
    for sample in totals:
        window.sample(*sample)
    oldest, newest = totals[-size:][0], totals[-1]
    responses = newest[1] - oldest[1]
    expected = max(1, (newest[0] - oldest[0]) // responses) if responses else 0
    assert window.mean(*newest) == expected


def test_a_long_life_stays_within_its_memory() -> None:
    window = MeanWindow(samples=10)
    rng = Random(1)
    total = 0
    for count in range(1000):
        total += rng.randrange(1000)
        window.sample(total, count)
    assert len(window._counts) == 10


class Counts:
    """What the ledger says of the slots, and the means that were published."""

    def __init__(self) -> None:
        self.counts = {1: 0, 2: 0}
        self.means: dict[int, int] = {}
        self.kept = Means(self.totals, self.means.__setitem__)

    def totals(self, slot: int) -> dict[str, int]:
        return {"response_ns": 100 * slot * self.counts[slot], "responses": self.counts[slot]}


def test_each_slot_has_a_mean_of_its_own() -> None:
    counts = Counts()
    counts.kept.publish({1, 2}, sample=True)
    counts.counts = {1: 5, 2: 7}
    counts.kept.publish({1, 2}, sample=False)
    assert counts.means == {1: 100, 2: 200}


def test_a_slot_that_was_out_of_use_begins_anew() -> None:
    counts = Counts()
    counts.kept.publish({1, 2}, sample=True)
    counts.counts[1] = 5
    counts.kept.publish({2}, sample=True)
    counts.kept.publish({1, 2}, sample=False)
    assert counts.means[1] == 0
