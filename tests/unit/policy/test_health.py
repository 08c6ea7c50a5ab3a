"""The rule by which outcomes change the health of a target, case by case."""

import pytest

from equipoise.model import Outcome
from equipoise.policy.health import Health, HealthRules, elapse, observe

RULES = HealthRules()
FAILED_ANSWERS = [Outcome.RESET, Outcome.TIMEOUT, Outcome.BAD_STATUS, Outcome.MALFORMED]


def after(
    outcomes: list[Outcome], rules: HealthRules = RULES, now: float = 0.0, health: Health | None = None
) -> Health:
    """The health after `outcomes`, all of them seen at `now`."""
    health = health or Health()
    for outcome in outcomes:
        health, _ = observe(health, outcome, now, rules)
    return health


def test_one_failed_connect_takes_a_target_down() -> None:
    health, flipped = observe(Health(), Outcome.CONNECT_FAILED, 5.0, RULES)
    assert (health.up, health.cause, flipped) == (False, Outcome.CONNECT_FAILED, True)


@pytest.mark.parametrize("outcome", FAILED_ANSWERS)
def test_the_third_failed_answer_in_a_row_takes_a_target_down(outcome: Outcome) -> None:
    assert after([outcome] * 2).up
    assert not after([outcome] * 3).up


def test_failed_answers_of_different_kinds_count_together() -> None:
    assert not after([Outcome.RESET, Outcome.TIMEOUT, Outcome.BAD_STATUS]).up


def test_a_good_answer_starts_the_count_again() -> None:
    assert after([Outcome.RESET, Outcome.RESET, Outcome.OK, Outcome.RESET, Outcome.RESET]).up


def test_a_good_probe_does_not_excuse_failed_answers() -> None:
    assert not after([Outcome.RESET, Outcome.RESET, Outcome.PROBE_OK, Outcome.RESET]).up


def test_a_good_answer_does_not_excuse_failed_probes() -> None:
    assert not after([Outcome.PROBE_FAILED, Outcome.OK, Outcome.PROBE_FAILED]).up


def test_a_good_probe_starts_the_count_of_failed_probes_again() -> None:
    assert after([Outcome.PROBE_FAILED, Outcome.PROBE_OK, Outcome.PROBE_FAILED]).up


@pytest.mark.parametrize("outcome", [Outcome.CONNECT_FAILED, Outcome.PROBE_FAILED, Outcome.RESET])
def test_a_threshold_of_zero_means_never(outcome: Outcome) -> None:
    assert after([outcome] * 50, HealthRules(connect_failures=0, failures=0, unhealthy_after=0)).up


def test_a_good_probe_returns_an_unreachable_target_at_once() -> None:
    down = after([Outcome.CONNECT_FAILED], now=10.0)
    health, flipped = observe(down, Outcome.PROBE_OK, 10.0, RULES)
    assert (health.up, flipped) == (True, True)


def test_healthy_after_asks_for_good_probes_in_a_row() -> None:
    rules = HealthRules(healthy_after=2)
    down = after([Outcome.CONNECT_FAILED], rules)
    assert not after([Outcome.PROBE_OK, Outcome.PROBE_FAILED, Outcome.PROBE_OK], rules, health=down).up
    assert after([Outcome.PROBE_OK, Outcome.PROBE_OK], rules, health=down).up


def test_a_good_probe_during_an_ejection_counts_for_nothing() -> None:
    down = after([Outcome.RESET] * 3, now=10.0)
    assert observe(down, Outcome.PROBE_OK, 10.99, RULES) == (down, False)


def test_a_good_probe_after_an_ejection_returns_the_target() -> None:
    down = after([Outcome.RESET] * 3, now=10.0)
    health, flipped = observe(down, Outcome.PROBE_OK, 11.0, RULES)
    assert (health.up, flipped) == (True, True)


def test_a_target_that_died_while_it_answered_waits_for_no_ejection() -> None:
    dying = after([Outcome.RESET] * 3 + [Outcome.CONNECT_FAILED], now=10.0)
    assert (dying.up, dying.cause, dying.ejections) == (False, Outcome.CONNECT_FAILED, 0)
    assert after([Outcome.PROBE_OK], now=10.1, health=dying).up


def test_a_failed_connect_during_an_ejection_without_probes_changes_nothing() -> None:
    rules = HealthRules(probes=False)
    down = after([Outcome.RESET] * 3, rules, now=10.0)
    assert observe(down, Outcome.CONNECT_FAILED, 10.5, rules) == (down, False)


@pytest.mark.parametrize("outcome", [Outcome.OK, *FAILED_ANSWERS])
def test_late_outcomes_of_requests_change_nothing_while_down(outcome: Outcome) -> None:
    down = after([Outcome.RESET] * 3, now=10.0)
    assert observe(down, outcome, 10.5, RULES) == (down, False)


def test_each_return_to_failure_doubles_the_ejection_up_to_its_longest() -> None:
    health, now, lengths = Health(), 0.0, []
    for _ in range(7):
        health = after([Outcome.RESET] * 3, now=now, health=health)
        lengths.append(health.until - now)
        now = health.until
        health = after([Outcome.PROBE_OK], now=now, health=health)
    assert lengths == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]


def test_an_ejection_is_forgotten_after_a_time_without_failure() -> None:
    once = after([Outcome.PROBE_OK], now=1.0, health=after([Outcome.RESET] * 3, now=0.0))
    back = after([Outcome.PROBE_OK], now=4.0, health=after([Outcome.RESET] * 3, now=2.0, health=once))
    assert after([Outcome.RESET] * 3, now=63.9, health=back).until == pytest.approx(63.9 + 4.0)
    assert after([Outcome.RESET] * 3, now=64.0, health=back).until == pytest.approx(64.0 + 1.0)


def test_being_unreachable_does_not_lengthen_a_later_ejection() -> None:
    health = Health()
    for _ in range(5):
        health = after([Outcome.CONNECT_FAILED, Outcome.PROBE_OK], health=health)
    assert after([Outcome.RESET] * 3, health=health).until == 1.0


def test_without_probes_every_cause_ejects_for_a_time() -> None:
    down = after([Outcome.CONNECT_FAILED], HealthRules(probes=False), now=10.0)
    assert down.until == 11.0


def test_without_probes_a_target_returns_by_itself_when_the_ejection_ends() -> None:
    rules = HealthRules(probes=False)
    down = after([Outcome.CONNECT_FAILED], rules, now=10.0)
    assert elapse(down, 10.9, rules) == (down, False)
    health, flipped = elapse(down, 11.0, rules)
    assert (health.up, flipped) == (True, True)


def test_with_probes_time_alone_returns_no_target() -> None:
    down = after([Outcome.CONNECT_FAILED])
    assert elapse(down, 1e9, RULES) == (down, False)
