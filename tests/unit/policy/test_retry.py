"""When another attempt may be made, and the budget for it."""

import pytest

from equipoise.errors import RETRY_ALWAYS, RETRY_IF_SAFE, RETRY_NEVER, upstream_failed
from equipoise.policy.retry import RESERVE, RESERVE_PER_SECOND, Budget, is_idempotent, may_retry

SECOND = 1_000_000_000
START = 500 * SECOND


@pytest.mark.parametrize("method", [b"GET", b"POST", b"PATCH"])
def test_what_never_reached_a_target_may_always_be_tried_again(method: bytes) -> None:
    assert may_retry(upstream_failed("connect_refused", RETRY_ALWAYS, ""), method, 0)


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"PUT", b"DELETE", b"QUERY"])
def test_what_was_sent_may_be_sent_again_when_that_does_no_harm(method: bytes) -> None:
    assert is_idempotent(method)
    assert may_retry(upstream_failed("reset", RETRY_IF_SAFE, ""), method, 1)


@pytest.mark.parametrize("method", [b"POST", b"PATCH", b"LOCK", b"CONNECT", b"get", b""])
def test_what_was_sent_may_not_be_sent_again_when_that_may_do_harm(method: bytes) -> None:
    assert not is_idempotent(method)
    assert not may_retry(upstream_failed("reset", RETRY_IF_SAFE, ""), method, 9)


def test_attempts_run_out() -> None:
    assert not may_retry(upstream_failed("reset", RETRY_IF_SAFE, ""), b"GET", 0)


def test_what_was_answered_is_never_tried_again() -> None:
    assert not may_retry(upstream_failed("malformed", RETRY_NEVER, ""), b"GET", 9)


def spent(budget: Budget, now: int) -> int:
    """How many retries can be paid at one moment."""
    count = 0
    while budget.spend(now):
        count += 1
        assert count < 100_000
    return count


def test_a_budget_begins_with_its_reserve() -> None:
    assert spent(Budget(0.2), START) == RESERVE


def test_five_requests_earn_a_retry() -> None:
    budget = Budget(0.2)
    spent(budget, START)
    for _ in range(51):  # one more than 10 cost: a fifth has no exact double
        budget.earn()
    assert spent(budget, START) == 10


def test_no_share_earns_nothing() -> None:
    budget = Budget(0.0)
    spent(budget, START)
    for _ in range(1_000):
        budget.earn()
    assert spent(budget, START) == 0


def test_the_reserve_comes_back_with_time() -> None:
    budget = Budget(0.2)
    spent(budget, START)
    assert spent(budget, START + 3 * SECOND) == 3 * RESERVE_PER_SECOND


def test_savings_are_never_more_than_the_reserve() -> None:
    budget = Budget(0.2)
    spent(budget, START)
    for _ in range(100_000):
        budget.earn()
    assert spent(budget, START + 3_600 * SECOND) == RESERVE


def test_a_failed_spending_costs_nothing() -> None:
    budget = Budget(0.5)
    spent(budget, START)
    budget.earn()
    assert not budget.spend(START)
    budget.earn()
    assert budget.spend(START)
