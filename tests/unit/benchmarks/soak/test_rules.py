"""What a failure is forgiven for. Moments are seconds; incidents last from 100 to 104."""

import math

import pytest
from benchmarks.soak.record import Failure, Incident, Loss, Request, What
from benchmarks.soak.rules import excuse, line_may_be_missing

BEGAN, ENDED = 100.0, 104.0


def incident(what: What, *pools: str) -> Incident:
    return Incident(what, "x", frozenset(pools), BEGAN, ENDED)


def failure(
    loss: Loss,
    status: int = 0,
    *,
    pool: str = "web",
    safe: bool = False,
    connected: float = 0.0,
    started: float = 99.9,
    ended: float = 100.1,
) -> Failure:
    return Failure(Request(0, "HTTP/1", pool, safe, connected, started), loss, status, "", ended)


KILLED = incident(What.TARGET_KILLED, "web", "kept")
FROZEN = incident(What.TARGET_FROZEN, "web", "kept", "sockets")
WORKER = incident(What.WORKER_KILLED)


def test_without_an_incident_nothing_may_fail() -> None:
    assert excuse(failure(Loss.STATUS, 502), []) is None


def test_the_incident_that_excuses_is_found_among_others() -> None:
    assert excuse(failure(Loss.STATUS, 502), [WORKER, FROZEN, KILLED]) is KILLED


@pytest.mark.parametrize(
    "found",
    [
        failure(Loss.STATUS, 502),
        failure(Loss.CUT),
        failure(Loss.CUT, safe=True),
        failure(Loss.CUT, pool="kept", safe=True),
    ],
)
def test_a_killed_target_excuses_what_was_there(found: Failure) -> None:
    assert excuse(found, [KILLED]) is KILLED


@pytest.mark.parametrize(
    "found",
    [
        failure(Loss.STATUS, 502, safe=True),
        failure(Loss.STATUS, 502, pool="calls"),
        failure(Loss.STATUS, 503),
        failure(Loss.STATUS, 502, started=101.0, ended=101.1),
        failure(Loss.CUT, started=90.0, ended=99.9),
        failure(Loss.LOST),
        failure(Loss.WRONG),
        failure(Loss.SILENT),
        failure(Loss.REFUSED),
    ],
)
def test_a_killed_target_excuses_nothing_else(found: Failure) -> None:
    assert excuse(found, [KILLED]) is None


@pytest.mark.parametrize(
    "found",
    [
        failure(Loss.STATUS, 504, started=103.9, ended=106.9),
        failure(Loss.CUT, safe=True, started=90.0, ended=103.0),
    ],
)
def test_a_frozen_target_excuses_what_overlaps_the_freeze(found: Failure) -> None:
    assert excuse(found, [FROZEN]) is FROZEN


@pytest.mark.parametrize(
    "found",
    [
        failure(Loss.STATUS, 504, safe=True),
        failure(Loss.STATUS, 502),
        failure(Loss.STATUS, 504, started=105.0, ended=106.0),
        failure(Loss.STATUS, 504, started=103.9, ended=108.0),
        failure(Loss.CUT, pool="sockets"),
        failure(Loss.LOST),
    ],
)
def test_a_frozen_target_excuses_nothing_else(found: Failure) -> None:
    assert excuse(found, [FROZEN]) is None


@pytest.mark.parametrize(
    "found",
    [
        failure(Loss.LOST, connected=99.0),
        failure(Loss.CUT, safe=True, pool="sockets", connected=100.0),
        failure(Loss.LOST, connected=99.0, started=110.0, ended=110.1),
        failure(Loss.LOST, connected=-math.inf, started=100.9, ended=101.0),
    ],
)
def test_a_killed_worker_excuses_lost_connections_that_were_made_before(found: Failure) -> None:
    assert excuse(found, [WORKER]) is WORKER


@pytest.mark.parametrize(
    "found",
    [
        failure(Loss.LOST, connected=100.2, started=100.2, ended=100.3),
        failure(Loss.LOST, connected=-math.inf, started=101.1, ended=101.2),
        failure(Loss.LOST, connected=90.0, started=99.0, ended=99.9),
        failure(Loss.REFUSED, connected=99.0),
        failure(Loss.STATUS, 502, connected=99.0),
        failure(Loss.WRONG, connected=99.0),
    ],
)
def test_a_killed_worker_excuses_nothing_else(found: Failure) -> None:
    assert excuse(found, [WORKER]) is None


@pytest.mark.parametrize(
    ("started", "ended", "may"),
    [(98.0, 98.9, False), (98.0, 99.1, True), (98.0, 107.0, True), (100.4, 107.0, True), (100.6, 100.7, False)],
)
def test_the_lines_of_what_was_there_when_a_worker_was_killed_or_just_before_may_be_missing(
    started: float, ended: float, may: bool
) -> None:
    assert line_may_be_missing(started, ended, [WORKER]) is may


def test_no_line_is_missing_for_the_death_of_a_target() -> None:
    assert not line_may_be_missing(BEGAN, BEGAN, [KILLED])
