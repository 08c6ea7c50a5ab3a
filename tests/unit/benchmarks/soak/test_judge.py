import json

import pytest
from benchmarks.soak.judge import (
    SLOPE_LIMIT,
    in_flight,
    judge_app_log,
    judge_descriptors,
    judge_failures,
    judge_lines,
    judge_memory,
    judge_twice,
)
from benchmarks.soak.lines import Lines
from benchmarks.soak.record import Incident, Loss, Record, What
from benchmarks.soak.watch import Memory, Samples

MINUTE = 60.0


def failing(*incidents: Incident) -> Record:
    record = Record()
    record.failed(record.begin("HTTP/1", "web", safe=False, connected=0.0), Loss.STATUS, "/x", 502)
    record.incidents.extend(incidents)
    return record


def test_a_failure_without_an_incident_fails_the_run_and_is_shown() -> None:
    check, excused, forbidden = judge_failures(failing())
    assert not check.passed
    assert "soak-0: another status 502 /x" in check.details[0]
    assert not excused
    assert len(forbidden) == 1


def test_an_excused_failure_is_counted_by_its_reason() -> None:
    record = failing()
    request = record.failures[0].request
    record.incidents.append(Incident(What.TARGET_KILLED, "x", frozenset({"web"}), request.started, request.started + 1))
    check, excused, forbidden = judge_failures(record)
    assert check.passed
    assert excused == {"target killed: HTTP/1, another status 502": 1}
    assert forbidden == []


@pytest.mark.parametrize(("seen", "passed"), [(["a", "b"], True), (["a", "b", "a"], False), ([], True)])
def test_a_request_that_came_twice_fails_the_run(seen: list[str], passed: bool) -> None:
    assert judge_twice(seen).passed is passed


@pytest.mark.parametrize("name", ["missing", "twice", "strange", "different"])
def test_a_wrong_line_fails_the_run(name: str) -> None:
    found = Lines()
    setattr(found, name, 1)
    assert not judge_lines(found).passed


def test_lines_that_a_killed_worker_took_along_do_not() -> None:
    assert judge_lines(Lines(lines=9, allowed_missing=3, torn=1)).passed


def grown(bytes_per_second: float, seconds: float) -> Samples:
    samples = Samples()
    for second in range(int(seconds) + 1):
        # The first half is a warm-up, which no one judges.
        samples.points[7].append((float(second), Memory(int(2**24 + bytes_per_second * second), 2**25)))
    return samples


@pytest.mark.parametrize(("rate", "passed"), [(0.0, True), (-SLOPE_LIMIT, True), (2 * SLOPE_LIMIT, False)])
def test_memory_that_grows_steadily_fails_a_long_run(rate: float, passed: bool) -> None:
    seconds = 10 * MINUTE
    [check] = judge_memory(grown(rate, seconds), {7: "worker"}, (0.0, seconds))
    assert check.passed is passed


def test_growth_in_the_first_half_is_no_leak() -> None:
    samples = grown(0.0, 10 * MINUTE)
    samples.points[7][:200] = [(when, Memory(2**20, 2**21)) for when, _ in samples.points[7][:200]]
    assert judge_memory(samples, {7: "worker"}, (0.0, 10 * MINUTE))[0].passed


def test_a_short_run_does_not_judge_memory() -> None:
    [check] = judge_memory(grown(10 * SLOPE_LIMIT, MINUTE), {7: "worker"}, (0.0, MINUTE))
    assert check.passed
    assert "too short" in check.figure


@pytest.mark.parametrize(
    ("after", "passed"),
    [({"files": 2}, True), ({"files": 1}, True), ({"files": 3}, False), ({"files": 2, "pipe": 1}, False)],
)
def test_more_descriptors_of_any_kind_fail_the_run(after: dict[str, int], passed: bool) -> None:
    assert judge_descriptors("worker", {"files": 2}, after).passed is passed


def test_what_is_in_flight_is_named_by_pool_and_target() -> None:
    targets = [{"name": "a", "in_flight": 0}, {"name": "b", "in_flight": 2}]
    assert in_flight({"pools": {"web": {"targets": targets}}}) == {"web/b": 2}


@pytest.mark.parametrize(
    "line",
    [
        json.dumps({"event": "worker died", "traceback": "..."}),
        json.dumps({"event": "worker died", "exception": "..."}),
        "Traceback (most recent call last):",
    ],
)
def test_an_exception_in_the_log_fails_the_run(line: str) -> None:
    assert not judge_app_log(json.dumps({"event": "ready"}) + "\n" + line + "\n").passed


def test_what_happened_is_counted_and_fails_nothing() -> None:
    check = judge_app_log('{"event": "target down"}\n{"event": "target down"}\n{"event": "ready"}\n')
    assert check.passed
    assert check.figure == "target down 2, ready 1"


def test_what_uvloop_says_of_a_tls_connection_that_had_ended_is_counted_and_fails_nothing() -> None:
    line = {"event": "Fatal error on SSL protocol", "exception": "RuntimeError: ...; the handler is closed"}
    check = judge_app_log(json.dumps(line))
    assert check.passed
    assert "1 of uvloop's own" in check.figure
    assert not judge_app_log(json.dumps({**line, "exception": "RuntimeError: another"})).passed
