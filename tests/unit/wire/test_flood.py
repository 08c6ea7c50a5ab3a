"""Floods: how much of what is allowed, and what gives it back."""

from collections.abc import Callable

import pytest

from equipoise.wire.flood import (
    EMPTY_BURST,
    EMPTY_RATE,
    IDLE_BURST,
    IDLE_RATE,
    MAX_UNREAD,
    PING_BURST,
    PING_RATE,
    RESET_BURST,
    RESET_RATE,
    SECOND_NS,
    SETTINGS_BURST,
    SETTINGS_RATE,
    UPDATE_BURST,
    UPDATE_RATE,
    FloodGuard,
    FloodLimits,
)
from equipoise.wire.http2_errors import ENHANCE_YOUR_CALM, Http2Error
from tests.support.frames import raised

NOW = 10**15

Count = Callable[[FloodGuard, int], None]

BUDGETS: list[tuple[Count, int, int]] = [
    (lambda guard, now: guard.reset(now), RESET_BURST, RESET_RATE),
    (lambda guard, now: guard.settings(now), SETTINGS_BURST, SETTINGS_RATE),
    (lambda guard, now: guard.ping(now), PING_BURST, PING_RATE),
    (lambda guard, now: guard.empty(now), EMPTY_BURST, EMPTY_RATE),
    (lambda guard, now: guard.window_update(now), UPDATE_BURST, UPDATE_RATE),
    (lambda guard, now: guard.idle(now), IDLE_BURST, IDLE_RATE),
]
NAMES = ["reset", "settings", "ping", "empty", "update", "idle"]
each_burst = pytest.mark.parametrize(("count", "burst"), [each[:2] for each in BUDGETS], ids=NAMES)
each_budget = pytest.mark.parametrize(("count", "burst", "rate"), BUDGETS, ids=NAMES)


def guard() -> FloodGuard:
    return FloodGuard(FloodLimits())


def allowed(count: Callable[[], None], most: int = 100_000) -> int:
    """How often it may be called until it is refused."""
    for number in range(most):
        try:
            count()
        except Http2Error as error:
            return number if (error.code, error.stream) == (ENHANCE_YOUR_CALM, 0) else -1
    return most


@each_burst
@pytest.mark.parametrize("now", [0, NOW])
def test_a_burst_is_allowed_and_no_more(count: Count, burst: int, now: int) -> None:
    each = guard()
    assert allowed(lambda: count(each, now)) == burst


@each_budget
def test_tokens_come_back_with_time(count: Count, burst: int, rate: int) -> None:
    each = guard()
    allowed(lambda: count(each, NOW))
    assert allowed(lambda: count(each, NOW + SECOND_NS)) == min(rate, burst)


@each_burst
def test_a_long_rest_gives_no_more_than_a_burst(count: Count, burst: int) -> None:
    each = guard()
    allowed(lambda: count(each, NOW))
    assert allowed(lambda: count(each, NOW + 10**6 * SECOND_NS)) == burst


@each_budget
def test_a_steady_rate_is_allowed_for_ever(count: Count, burst: int, rate: int) -> None:
    each = guard()
    for number in range(3 * burst):
        count(each, NOW + (number * SECOND_NS + rate - 1) // rate)


def test_one_budget_does_not_spend_another() -> None:
    each = guard()
    allowed(lambda: each.ping(NOW))
    each.reset(NOW)
    each.settings(NOW)


def test_one_connection_does_not_spend_another_s() -> None:
    limits = FloodLimits()
    first, second = FloodGuard(limits), FloodGuard(limits)
    allowed(lambda: first.reset(NOW))
    second.reset(NOW)


def test_a_proxy_of_whose_callers_half_cancel_is_never_closed() -> None:
    each = guard()
    for _ in range(10 * RESET_BURST):
        each.reset(NOW)
        each.finished()


def test_good_streams_do_not_pay_for_a_flood_to_come() -> None:
    each = guard()
    for _ in range(10_000):
        each.finished()
    assert allowed(lambda: each.reset(NOW)) == RESET_BURST


def test_a_reader_that_updates_twice_for_each_data_is_never_closed() -> None:
    each = guard()
    for _ in range(2 * UPDATE_BURST):
        each.sent(64)
        each.window_update(NOW)
        each.window_update(NOW)


def test_a_window_that_opens_byte_by_byte_earns_nothing() -> None:
    each = guard()

    def dribble() -> None:
        each.window_update(NOW)
        each.sent(1)

    assert allowed(dribble) == UPDATE_BURST


def test_resets_may_be_allowed_more_generously() -> None:
    limits = FloodLimits()
    limits.allow_resets(1000, 500)
    each = FloodGuard(limits)
    assert allowed(lambda: each.reset(NOW)) == 1000
    assert allowed(lambda: each.reset(NOW + SECOND_NS)) == 500


def test_answers_to_a_peer_that_reads_are_not_counted() -> None:
    each = guard()
    assert allowed(each.answered, 10 * MAX_UNREAD) == 10 * MAX_UNREAD


def test_answers_that_nobody_reads_are_bounded() -> None:
    each = guard()
    each.reading(False)
    assert allowed(each.answered) == MAX_UNREAD
    assert raised(each.answered) == (ENHANCE_YOUR_CALM, 0)


def test_a_peer_that_reads_again_starts_anew() -> None:
    each = guard()
    each.reading(False)
    allowed(each.answered)
    each.reading(True)
    each.reading(False)
    assert allowed(each.answered) == MAX_UNREAD
