import pytest
from benchmarks.limits import PICK_FEW, PICK_MANY, Verdict, verdicts
from benchmarks.model import (
    CALLS,
    HANDSHAKES,
    Figures,
    IdleFigures,
    MicroFigure,
    Results,
    ScenarioResult,
)


def figures(row: str, cpu_us: float, errors: tuple[str, ...] = ()) -> Figures:
    return Figures(row, "log" in row, 5, cpu_us, cpu_us, cpu_us, cpu_us, 0.0, 1.0, 1.0, 1.0, 1, 0.0, errors)


def judged(results: Results) -> dict[str, bool]:
    return {verdict.limit: verdict.passed for verdict in verdicts(results, ["equipoise"])}


def small(*rows: Figures) -> Results:
    return Results(scenarios=[ScenarioResult("100B, 1 worker", "100B", 1, 3, rows)])


@pytest.mark.parametrize(("ours", "passed"), [(20.0, True), (20.1, False)])
def test_with_the_log_on_nginx_is_the_limit(ours: float, passed: bool) -> None:
    results = small(figures("equipoise, log", ours), figures("nginx, log", 20.0), figures("nginx", 1.0))

    assert judged(results) == {"equipoise, log / nginx, log": passed}


@pytest.mark.parametrize(("ours", "passed"), [(13.5, True), (13.6, False)])
def test_with_the_log_off_the_floor_is_the_limit(ours: float, passed: bool) -> None:
    results = small(figures("equipoise", ours), figures("HAProxy, TCP mode", 10.0))

    assert judged(results) == {"equipoise / HAProxy, TCP mode": passed}


def test_the_big_peers_are_compared_with_the_same_log_setting() -> None:
    results = small(
        figures("equipoise", 20.0),
        figures("equipoise, log", 28.0),
        figures("Envoy", 70.0),
        figures("Envoy, log", 90.0),
    )

    assert judged(results) == {"equipoise / Envoy": True, "equipoise, log / Envoy, log": False}


def test_big_answers_are_held_against_nginx_and_haproxy() -> None:
    rows = (figures("equipoise", 80.0), figures("nginx", 100.0), figures("HAProxy", 79.0))
    results = Results(scenarios=[ScenarioResult("1MiB, 1 worker", "1MiB", 1, 3, rows)])

    assert judged(results) == {"equipoise / nginx": True, "equipoise / HAProxy": False}


def test_no_verdict_stands_on_a_failed_load() -> None:
    results = small(figures("equipoise, log", 10.0), figures("nginx, log", 20.0, ("1 socket errors (read)",)))

    assert judged(results) == {}


@pytest.mark.parametrize(("opened", "kept", "passed"), [(1500, 2500, True), (1500, 2501, False), (2501, 1500, False)])
def test_the_heavier_idle_state_counts(opened: float, kept: float, passed: bool) -> None:
    results = Results(
        idle=[IdleFigures("equipoise", 10_000, 1, opened, kept), IdleFigures("nginx", 10_000, 1, 9e9, 9e9)]
    )

    assert judged(results) == {"equipoise, each idle connection": passed}


@pytest.mark.parametrize(("many", "passed"), [(1300.0, True), (1301.0, False)])
def test_the_pick_may_cost_a_microsecond_more_at_500_targets(many: float, passed: bool) -> None:
    results = Results(micro=[MicroFigure(PICK_FEW, 300.0, None), MicroFigure(PICK_MANY, many, None)])

    assert judged(results) == {"pick at 500 targets over pick at 5": passed}


def test_a_figure_equal_to_the_limit_passes() -> None:
    assert Verdict("l", "w", 0.3, 0.3, "x CPU").passed


def test_calls_with_a_log_are_held_against_peers_with_theirs() -> None:
    rows = (
        figures("equipoise, log", 12.0),
        figures("HAProxy", 12.0),
        figures("nghttpx", 1.0),
        figures("nghttpx, log", 13.0),
        figures("nginx, log", 23.0),
        figures("Envoy, log", 49.0),
    )
    results = Results(scenarios=[ScenarioResult("h2-unary", "call", 1, 2, rows, CALLS)])

    assert judged(results) == {
        "equipoise, log / HAProxy": True,
        "equipoise, log / nghttpx, log": True,
        "equipoise, log / nginx, log": False,
        "equipoise, log / Envoy, log": True,
    }


def test_a_handshake_may_cost_three_tenths_more_than_that_of_nginx() -> None:
    rows = (figures("equipoise", 780.0), figures("HAProxy", 1.0), figures("nginx", 600.0))
    results = Results(scenarios=[ScenarioResult("tls-handshake", "100B", 1, 2, rows, HANDSHAKES)])

    assert judged(results) == {"equipoise / nginx": True}
