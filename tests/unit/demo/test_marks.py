"""Each mark on a run that meets it and on one that misses it."""

import msgspec
import pytest

from equipoise.demo.marks import Mark, Moments, Run, judge
from equipoise.demo.record import Failure
from equipoise.demo.samples import Series

NAMES = ("a", "b", "c", "d", "e")
MOMENTS = Moments(started=0, killed=10_000, restarted=20_000, returned=20_400, ended=30_000)
STEP = 50


def in_flight(name: str, tick: int) -> int | None:
    """A perfect balancer: 24 at each of five, 30 at each of four, at once."""
    without = MOMENTS.killed <= tick < MOMENTS.returned
    if without and name == "c":
        return None
    return 30 if without else 24


def series(name: str) -> dict[int, float]:
    found = {tick: in_flight(name, tick) for tick in range(0, MOMENTS.ended, STEP)}
    return {tick: value for tick, value in found.items() if value is not None}


def good_run(**changes: object) -> Run:
    run = Run(
        moments=MOMENTS,
        killed="c",
        in_flight={name: series(name) for name in NAMES},
        sample_ms=STEP,
        open_requests=dict.fromkeys(range(0, MOMENTS.ended, 100), 120),
        failures=[],
        failed_on={},
        answered=20_000,
    )
    return msgspec.structs.replace(run, **changes)


def changed(name: str, start_ms: int, end_ms: int, by: float, every: int = 1) -> dict[str, Series]:
    """All series, one of them shifted in a stretch, at each sample or at each so-manieth."""
    all_series: dict[str, Series] = {each: series(each) for each in NAMES}
    all_series[name] = {
        tick: value + (by if start_ms <= tick < end_ms and tick // STEP % every == 0 else 0)
        for tick, value in all_series[name].items()
    }
    return all_series


def without(name: str, start_ms: int, end_ms: int) -> dict[str, Series]:
    """All series, one of them with a hole."""
    all_series: dict[str, Series] = {each: series(each) for each in NAMES}
    all_series[name] = {tick: value for tick, value in all_series[name].items() if not start_ms <= tick < end_ms}
    return all_series


def missed(run: Run) -> set[str]:
    return {mark.name for mark in judge(run) if not mark.passed}


def mark(run: Run, name: str) -> Mark:
    return next(mark for mark in judge(run) if mark.name == name)


def failure(method: str, start_ms: float, end_ms: float, number: int = 1) -> Failure:
    return Failure(f"id-{number}", method, start_ms, end_ms, "502")


def test_a_perfect_run_meets_all_marks() -> None:
    assert missed(good_run()) == set()


def test_every_mark_has_a_name_of_its_own() -> None:
    names = [mark.name for mark in judge(good_run())]
    assert len(names) == len(set(names)) == 11


@pytest.mark.parametrize(("by", "met"), [(1.4, True), (1.6, False), (-1.4, True), (-1.6, False)])
def test_before_the_kill_each_mean_is_within_5_percent(by: float, met: bool) -> None:
    # 1.5 of 24 at one of five moves its own mean by 6.25 % and the mean of all by 1.25 %.
    assert mark(good_run(in_flight=changed("b", 0, 10_000, by)), "before.even").passed is met


@pytest.mark.parametrize(("every", "met"), [(11, True), (9, False)])
def test_before_the_kill_the_spread_is_2_at_nine_samples_in_ten(every: int, met: bool) -> None:
    assert mark(good_run(in_flight=changed("b", 0, 10_000, 3, every)), "before.spread").passed is met


def test_a_spread_of_2_is_within_the_limit() -> None:
    assert mark(good_run(in_flight=changed("b", 0, 10_000, 2)), "before.spread").passed


def test_the_warm_up_is_not_judged() -> None:
    assert missed(good_run(in_flight=changed("b", 0, 2000, -24))) == set()


@pytest.mark.parametrize("start_ms", [100.0, 9_990.0, 15_000.0, 25_000.0])
def test_a_failed_get_is_a_miss_at_any_time(start_ms: float) -> None:
    run = good_run(failures=[failure("GET", start_ms, start_ms + 20)], failed_on={"id-1": "c"})
    assert missed(run) == {"lost.get"}


@pytest.mark.parametrize("target", [None, "c"])
def test_a_post_may_fail_with_the_killed_target(target: str | None) -> None:
    run = good_run(failures=[failure("POST", 9_900, 10_040)], failed_on={"id-1": target})
    assert missed(run) == set()
    assert "1 that were" in mark(run, "lost.post").shown


@pytest.mark.parametrize(
    ("start_ms", "end_ms"),
    [(5_000.0, 5_100.0), (9_900.0, 9_940.0), (10_100.0, 10_200.0), (9_900.0, 12_000.0), (25_000.0, 25_100.0)],
)
def test_a_post_may_not_fail_at_another_time(start_ms: float, end_ms: float) -> None:
    assert missed(good_run(failures=[failure("POST", start_ms, end_ms)])) == {"lost.post"}


def test_a_post_may_not_fail_on_another_target() -> None:
    run = good_run(failures=[failure("POST", 9_900, 10_040)], failed_on={"id-1": "a"})
    assert missed(run) == {"lost.post"}


def test_no_more_posts_may_fail_than_the_killed_target_held() -> None:
    run = good_run(failures=[failure("POST", 9_900, 10_040, number) for number in range(30)])
    assert mark(run, "lost.post").measured == 6
    assert missed(run) == {"lost.post"}


def test_traffic_without_a_single_answer_proves_nothing() -> None:
    assert missed(good_run(answered=0)) == {"lost.get", "lost.post"}


def test_the_others_share_evenly_within_a_second_of_the_kill() -> None:
    assert "without.share" in missed(good_run(in_flight=changed("a", 11_000, 13_000, -4)))


def test_the_second_after_the_kill_is_not_judged() -> None:
    assert missed(good_run(in_flight=changed("a", 10_000, 11_000, -24))) == set()


def test_the_others_carry_all_that_is_open() -> None:
    run = good_run(open_requests=dict.fromkeys(range(0, MOMENTS.ended, 100), 130))
    assert missed(run) == {"without.carried"}


def test_an_open_loop_is_not_asked_to_keep_a_number() -> None:
    run = good_run(open_requests=None)
    assert len(judge(run)) == 10
    assert missed(run) == set()


def test_the_others_stay_even_until_the_restart() -> None:
    assert missed(good_run(in_flight=changed("a", 13_000, 20_000, -6))) == {"without.even", "without.spread"}


def test_the_others_spread_is_judged_until_the_restart() -> None:
    assert missed(good_run(in_flight=changed("a", 13_000, 20_000, -3, 4))) == {"without.spread"}


def test_the_returned_target_has_its_share_within_two_seconds() -> None:
    found = missed(good_run(in_flight=changed("c", 20_400, 23_500, -20)))
    assert "after.share" in found


def test_the_two_seconds_after_the_return_are_not_judged() -> None:
    assert missed(good_run(in_flight=changed("c", 20_400, 22_400, -24))) == set()


def test_all_are_even_to_the_end() -> None:
    assert missed(good_run(in_flight=changed("e", 25_000, 30_000, 5))) == {"after.even", "after.spread"}


@pytest.mark.parametrize(
    ("name", "hole", "unmeasured"),
    [
        ("a", (2_000, 10_000), {"before.even", "before.spread"}),
        ("a", (11_000, 20_000), {"without.share", "without.carried", "without.even", "without.spread"}),
        ("c", (20_400, 30_000), {"after.share", "after.even", "after.spread"}),
        ("a", (2_000, 4_000), {"before.even", "before.spread"}),
    ],
)
def test_missing_samples_are_a_miss(name: str, hole: tuple[int, int], unmeasured: set[str]) -> None:
    run = good_run(in_flight=without(name, *hole))
    assert missed(run) == unmeasured
    assert all(mark(run, each).measured is None for each in unmeasured)


def test_a_target_that_never_returned_is_a_miss() -> None:
    moments = msgspec.structs.replace(MOMENTS, returned=30_000)
    assert {"after.share", "after.even", "after.spread"} <= missed(good_run(moments=moments))
