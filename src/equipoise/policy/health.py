"""Whether a target takes requests, judged from what was seen of it.

Owns: the value `Health`, and the one rule by which an outcome changes it.
Refuses to know: clocks (`now` is an argument), who looked (a request or a probe), other targets, how a flip is told.
Called by: runtime/targets.py, in the supervisor only.

Two ways down, two ways back. A target that nobody can connect to, or that fails its probes, is unreachable: the next
good probe is proof enough that it is back. A target that connects and then fails its answers may well pass a probe all
the while; it sits out an ejection time first, which doubles each time it comes back to failure. Without probes, the
ejection time is the only judge of both.
"""

from dataclasses import dataclass, replace
from typing import Final

from equipoise.model import Outcome

# Past this the doubling cannot matter: 2 ** 40 of the shortest time is over any longest.
MOST_DOUBLINGS: Final = 40


@dataclass(frozen=True)
class HealthRules:
    """How much failure is too much; a count of 0 switches that way of going down off. Times in seconds."""

    connect_failures: int = 1
    failures: int = 3
    unhealthy_after: int = 2
    healthy_after: int = 1
    probes: bool = True
    ejection: float = 1.0
    ejection_max: float = 30.0
    forget_after: float = 60.0


@dataclass(frozen=True)
class Health:
    """What is believed of one target; each observation replaces it.

    `cause` is the outcome that took it down, None while it is up. `until` is when its ejection ends: before that
    nothing brings it back. The `*_failed` counts are of consecutive outcomes while up; `probes_ok` counts good probes
    while down.
    `ejections` is how often it was ejected without being well for long in between.
    """

    up: bool = True
    cause: Outcome | None = None
    until: float = 0.0
    connects_failed: int = 0
    answers_failed: int = 0
    probes_failed: int = 0
    probes_ok: int = 0
    ejections: int = 0
    well_since: float = 0.0


def observe(health: Health, outcome: Outcome, now: float, rules: HealthRules) -> tuple[Health, bool]:
    """The health after `outcome`, and whether that flipped it between up and down."""
    if health.up:
        return _observe_up(health, outcome, now, rules)
    return _observe_down(health, outcome, now, rules)


def elapse(health: Health, now: float, rules: HealthRules) -> tuple[Health, bool]:
    """The health after time has passed: without probes, a target comes back by itself when its ejection ends."""
    if health.up or rules.probes or now < health.until:
        return health, False
    return _raised(health, now), True


def is_failed_answer(outcome: Outcome | None) -> bool:
    """Whether the target was reached and then failed a request."""
    return outcome in (Outcome.RESET, Outcome.TIMEOUT, Outcome.BAD_STATUS, Outcome.MALFORMED)


def _observe_up(health: Health, outcome: Outcome, now: float, rules: HealthRules) -> tuple[Health, bool]:
    if outcome is Outcome.OK:
        if health.connects_failed or health.answers_failed:
            return replace(health, connects_failed=0, answers_failed=0), False
        return health, False
    if outcome is Outcome.PROBE_OK:
        return (replace(health, probes_failed=0) if health.probes_failed else health), False

    # The first failure after a long time of being well wipes the record; those of one streak follow too closely.
    ejections = 0 if now - health.well_since >= rules.forget_after else health.ejections
    seen = replace(health, ejections=ejections, well_since=now)
    if outcome is Outcome.CONNECT_FAILED:
        seen = replace(seen, connects_failed=seen.connects_failed + 1)
        too_many = _reached(seen.connects_failed, rules.connect_failures)
    elif outcome is Outcome.PROBE_FAILED:
        seen = replace(seen, probes_failed=seen.probes_failed + 1)
        too_many = _reached(seen.probes_failed, rules.unhealthy_after)
    else:
        seen = replace(seen, answers_failed=seen.answers_failed + 1)
        too_many = _reached(seen.answers_failed, rules.failures)
    return (_lowered(seen, outcome, now, rules), True) if too_many else (seen, False)


def _observe_down(health: Health, outcome: Outcome, now: float, rules: HealthRules) -> tuple[Health, bool]:
    if outcome is Outcome.PROBE_FAILED:
        return (replace(health, probes_ok=0) if health.probes_ok else health), False
    if outcome is Outcome.CONNECT_FAILED and rules.probes and is_failed_answer(health.cause):
        # It was not failing its answers, it was dying, and the resets of what it held came first. That is no ejection:
        # the process that takes the next connection is another one.
        unreachable = replace(health, cause=outcome, until=now, probes_ok=0, ejections=health.ejections - 1)
        return unreachable, False
    # Requests that end now were sent before it went down: they prove nothing new, in either direction. Nor does a good
    # probe during an ejection: what the target was ejected for is not what a probe can see.
    if outcome is not Outcome.PROBE_OK or now < health.until:
        return health, False
    seen = replace(health, probes_ok=health.probes_ok + 1)
    return (_raised(seen, now), True) if seen.probes_ok >= rules.healthy_after else (seen, False)


def _reached(count: int, threshold: int) -> bool:
    return threshold > 0 and count >= threshold


def _lowered(health: Health, cause: Outcome, now: float, rules: HealthRules) -> Health:
    if rules.probes and not is_failed_answer(cause):
        # Its return needs a good probe and no waiting, so this is no ejection and does not lengthen the next one.
        return Health(up=False, cause=cause, until=now, ejections=health.ejections, well_since=now)
    time_out = min(rules.ejection_max, rules.ejection * 2.0 ** min(health.ejections, MOST_DOUBLINGS))
    return Health(up=False, cause=cause, until=now + time_out, ejections=health.ejections + 1, well_since=now)


def _raised(health: Health, now: float) -> Health:
    return Health(ejections=health.ejections, well_since=now)
