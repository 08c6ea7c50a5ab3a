from datetime import UTC, datetime
from typing import Any

import pytest

from equipoise.cli.answers import Status, read
from equipoise.cli.top_samples import Rates, Sample, Trail, rates
from tests.support.admin_api import status, target

WALL = datetime(2026, 7, 30, 12, 0, 0, tzinfo=UTC)
A = ("default", "a")


def sample(at: float, requests: int = 0, in_flight: int = 0, **more: Any) -> Sample:
    """A look at one target and one worker, which have had the same requests."""
    data = status(default=[target("a", requests=requests, in_flight=in_flight)])
    data |= {"workers": [{"pid": 1, "requests": requests}], "uptime_s": at, **more}
    return Sample(read(data, Status), at, WALL)


def test_a_rate_is_a_difference_of_counters_over_time() -> None:
    found = rates(sample(10, 100), sample(12, 150))
    assert (found.total, found.targets, found.workers) == (25.0, {A: 25.0}, {1: 25.0})
    assert found.pool("default") == 25.0


def test_a_first_look_tells_no_rate() -> None:
    assert rates(None, sample(10)) == Rates()


def test_a_balancer_that_was_started_anew_tells_none() -> None:
    assert rates(sample(10, 100, uptime_s=500), sample(11, 100, uptime_s=1)) == Rates()


def test_a_new_target_or_worker_has_none_yet() -> None:
    before = Sample(read(status(default=[]), Status), 10, WALL)
    assert rates(before, sample(12, 150)) == Rates()


def test_a_counter_that_went_back_tells_none() -> None:
    assert rates(sample(10, 100), sample(11, 20)).targets == {}


def test_two_looks_at_the_same_moment_tell_none() -> None:
    assert rates(sample(10, 100), sample(10, 120)) == Rates()


def test_a_pool_nobody_knows_has_no_rate() -> None:
    assert Rates().pool("default") is None


@pytest.mark.parametrize(
    ("loads", "heights"),
    [
        ({}, [None, None, None, None]),
        ({61: 1, 76: 2, 91: 3, 120: 4}, [1, 2, 3, 4]),
        ({106: 3, 110: 9, 115: 1}, [None, None, None, 9]),
        ({70: 3, 120: 0}, [3, 3, 3, 0]),
    ],
)
def test_a_trail_has_the_highest_load_of_each_part_of_the_minute(
    loads: dict[int, int], heights: list[int | None]
) -> None:
    trail = Trail(sample(at, in_flight=load) for at, load in loads.items())
    assert trail.heights(A, 4, 120.0) == heights


def test_a_trail_forgets_after_a_minute() -> None:
    trail = Trail([sample(0, in_flight=9), sample(60, in_flight=1)])
    assert trail.most() == 1


def test_a_target_nobody_saw_has_no_heights() -> None:
    assert Trail([sample(0)]).heights(("default", "b"), 2, 0.0) == [None, None]


def test_an_empty_trail_has_no_most() -> None:
    assert Trail().most() == 0
