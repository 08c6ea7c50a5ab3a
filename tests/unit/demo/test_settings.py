import sys
from pathlib import Path

import msgspec
import pytest

from equipoise.demo.settings import DemoSettings, UsageError, even_number

SETTINGS = DemoSettings(Path("report"))


def test_the_defaults_make_a_demo() -> None:
    SETTINGS.with_timeline(None, None).with_load(None, None).check()


def test_a_longer_run_kills_after_a_third_and_restarts_after_two() -> None:
    settings = msgspec.structs.replace(SETTINGS, duration=300.0).with_timeline(None, None)
    assert (settings.kill_at, settings.restart_at) == (100.0, 200.0)


def test_given_moments_are_kept() -> None:
    settings = SETTINGS.with_timeline(5.0, 30.0)
    assert (settings.kill_at, settings.restart_at) == (5.0, 30.0)


@pytest.mark.parametrize("targets", range(2, 40))
def test_the_default_load_is_20_to_30_requests_per_target(targets: int) -> None:
    assert 20 <= even_number(targets) / targets <= 30


@pytest.mark.parametrize("targets", [2, 3, 4, 5, 6, 8, 10])
def test_the_default_load_divides_with_and_without_the_killed_target(targets: int) -> None:
    assert even_number(targets) % targets == 0
    assert even_number(targets) % (targets - 1) == 0


def test_concurrency_and_rate_exclude_each_other() -> None:
    with pytest.raises(UsageError, match="exclude each other"):
        SETTINGS.with_load(10, 100.0)


def test_a_rate_makes_the_loop_open() -> None:
    assert SETTINGS.with_load(None, 100.0).rate == 100.0


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"targets": 1}, "--targets"),
        ({"workers": 0}, "--workers"),
        ({"concurrency": 0}, "--concurrency"),
        ({"kill_at": 40.0, "restart_at": 20.0}, "the order is"),
        ({"kill_at": 0.0}, "the order is"),
        ({"restart_at": 60.0}, "the order is"),
        ({"kill_at": 3.0}, "at least 4 s"),
        ({"restart_at": 22.0}, "at least 4 s"),
        ({"restart_at": 58.0}, "at least 4 s"),
    ],
)
def test_what_makes_no_demo_is_refused(change: dict[str, float], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        msgspec.structs.replace(SETTINGS, **change).check()


def test_grpc_needs_grpcio(monkeypatch: pytest.MonkeyPatch) -> None:
    with_grpc = msgspec.structs.replace(SETTINGS, grpc=True)
    with_grpc.check()
    monkeypatch.setitem(sys.modules, "grpc", None)
    with pytest.raises(UsageError, match=r"equipoise\[grpc\]"):
        with_grpc.check()


def test_the_slowest_target_takes_twice_as_long_as_the_fastest() -> None:
    delays = [SETTINGS.delay_of(number) for number in range(5)]
    assert delays == sorted(delays)
    assert delays[-1] == pytest.approx(2 * delays[0], rel=0.01)
    assert sum(delays) / 5 == pytest.approx(SETTINGS.delay_ms, rel=0.01)


def test_names_are_letters_and_differ() -> None:
    names = msgspec.structs.replace(SETTINGS, targets=60).names
    assert names[:3] == ["a", "b", "c"]
    assert names[26:28] == ["aa", "ab"]
    assert len(set(names)) == 60


@pytest.mark.parametrize(("duration", "seconds"), [(300.0, 10.0), (60.0, 10.0), (30.0, 5.0), (12.0, 2.0)])
def test_a_short_run_logs_more_often(duration: float, seconds: float) -> None:
    assert msgspec.structs.replace(SETTINGS, duration=duration).log_every == seconds
