"""The marks of the main run: what must hold before the kill, without the target, and after its return.

Owns: the limits, which samples each mark is judged by, pass or fail.
Refuses to know: files, processes, how marks are shown. Pure: the same run gives the same marks.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from equipoise.demo.record import Failure
from equipoise.demo.samples import Series, Window, deviations, mean, spreads

MAX_DEVIATION: Final = 0.05
MAX_SPREAD: Final = 2
MIN_EVEN_SHARE: Final = 0.9
WARM_UP_MS: Final = 2000
TAKE_OVER_MS: Final = 1000
RETURN_MS: Final = 2000
# "Within 1 s" and "within 2 s" are judged by the mean of the stretch that begins there: long enough that the noise of
# single samples does not decide, short enough that a late balancer is seen.
JUDGED_MS: Final = 2000
# A mark needs at least this share of the samples that its stretch should have; a run with holes proves nothing.
MIN_COVERAGE: Final = 0.8
# Between the moment the killed target's sockets close and the moment the demo notes it.
KILL_SLACK_MS: Final = 50
# A POST that was in flight on the killed target is told so at once.
MAX_TOLD_MS: Final = 1000
LAST_MOMENTS_MS: Final = 200


class Moments(msgspec.Struct, frozen=True):
    """The run's turning points, milliseconds of the wall clock; `returned` is when the restarted target listens."""

    started: int
    killed: int
    restarted: int
    returned: int
    ended: int


class Run(msgspec.Struct, frozen=True):
    """What the marks are judged by.

    `in_flight` has a series per target; `open_requests` is the traffic's own count of requests it waits for, None when
    the traffic keeps it not steady; `failed_on` says for a request id which target the balancer's log names, if any.
    """

    moments: Moments
    killed: str
    in_flight: Mapping[str, Series]
    sample_ms: int
    open_requests: Series | None
    failures: Sequence[Failure]
    failed_on: Mapping[str, str | None]
    answered: int


class Mark(msgspec.Struct, frozen=True):
    """One thing that must hold. `measured` is None when there was nothing to measure, which is a miss."""

    name: str
    says: str
    limit: str
    measured: float | None
    shown: str
    passed: bool


def judge(run: Run) -> list[Mark]:
    """All marks of a run."""
    moments = run.moments
    everyone = dict(run.in_flight)
    others = {name: series for name, series in everyone.items() if name != run.killed}
    before = Window(moments.started + WARM_UP_MS, moments.killed)
    without = Window(moments.killed + TAKE_OVER_MS, moments.restarted)
    after = Window(moments.returned + RETURN_MS, moments.ended)
    taken_over = Window(without.start_ms, min(without.start_ms + JUDGED_MS, without.end_ms))
    regained = Window(after.start_ms, min(after.start_ms + JUDGED_MS, after.end_ms))
    return [
        even("before.even", "all targets up: each target's mean in flight", everyone, before, run.sample_ms),
        close("before.spread", "all targets up: spread of 2 or less", everyone, before, run.sample_ms),
        lost_gets(run),
        lost_posts(run),
        even("without.share", "1 s after the kill: the others' means", others, taken_over, run.sample_ms),
        *kept(run, others, taken_over),
        even("without.even", "until the restart: the others' means", others, without, run.sample_ms),
        close("without.spread", "until the restart: spread of 2 or less", others, without, run.sample_ms),
        regained_share(run, regained),
        even("after.even", "from 2 s after the return: each target's mean", everyone, after, run.sample_ms),
        close("after.spread", "from 2 s after the return: spread of 2 or less", everyone, after, run.sample_ms),
    ]


def even(name: str, says: str, targets: Mapping[str, Series], window: Window, sample_ms: int) -> Mark:
    """Each target's mean is near the mean of all."""
    limit = f"within {MAX_DEVIATION:.0%} of the mean of all"
    found = deviations(targets, window)
    if not found or not all(covered(series, window, sample_ms) for series in targets.values()):
        return unmeasured(name, says, limit)
    worst = max(found, key=lambda target: abs(found[target]))
    off = abs(found[worst])
    return Mark(name, says, limit, off, f"{found[worst]:+.1%} ({worst})", off <= MAX_DEVIATION)


def close(name: str, says: str, targets: Mapping[str, Series], window: Window, sample_ms: int) -> Mark:
    """Largest and smallest are near each other at most moments."""
    limit = f"at {MIN_EVEN_SHARE:.0%} of the samples"
    found = spreads(list(targets.values()), window)
    if len(found) < needed(window, sample_ms):
        return unmeasured(name, says, limit)
    share = sum(spread <= MAX_SPREAD for _, spread in found) / len(found)
    return Mark(name, says, limit, share, f"{share:.1%} of {len(found)}", share >= MIN_EVEN_SHARE)


def lost_gets(run: Run) -> Mark:
    """No request that may be tried again fails, over the whole run."""
    says = "failed requests of those that may be retried (GET)"
    if run.answered == 0:
        return unmeasured("lost.get", says, "0")
    lost = sum(failure.method == "GET" for failure in run.failures)
    return Mark("lost.get", says, "0", lost, str(lost), lost == 0)


def lost_posts(run: Run) -> Mark:
    """A POST may fail only with the target that was working on it."""
    says = "failed POSTs that were not in flight on the killed target"
    if run.answered == 0:
        return unmeasured("lost.post", says, "0")
    posts = [failure for failure in run.failures if failure.method != "GET"]
    excused = min(sum(lost_with_target(run, failure) for failure in posts), held_at_kill(run))
    lost = len(posts) - excused
    return Mark("lost.post", says, "0", lost, f"{lost} (and {excused} that were)", lost == 0)


def lost_with_target(run: Run, failure: Failure) -> bool:
    """Whether a request was in flight on the killed target when it was killed, and was told so at once."""
    killed = run.moments.killed
    on_killed = run.failed_on.get(failure.request_id) in {None, run.killed}
    return (
        on_killed
        and failure.start_ms <= killed + KILL_SLACK_MS
        and (killed - KILL_SLACK_MS <= failure.end_ms <= killed + MAX_TOLD_MS)
    )


def held_at_kill(run: Run) -> int:
    """The most requests that the killed target had in flight in its last moments."""
    killed = run.moments.killed
    return int(max(Window(killed - LAST_MOMENTS_MS, killed + 1).cut(run.in_flight[run.killed]), default=0))


def kept(run: Run, others: Mapping[str, Series], window: Window) -> list[Mark]:
    """The others carry all that the traffic keeps open; not judged when the traffic keeps no steady number."""
    if run.open_requests is None:
        return []
    name, says = "without.carried", "1 s after the kill: what the others carry of the traffic's open requests"
    limit = f"within {MAX_DEVIATION:.0%} of all"
    wanted = mean(run.open_requests, window)
    found = [mean(series, window) for series in others.values()]
    carried = [value for value in found if value is not None]
    enough = all(covered(series, window, run.sample_ms) for series in others.values())
    if not wanted or not carried or len(carried) < len(found) or not enough:
        return [unmeasured(name, says, limit)]
    share = sum(carried) / wanted
    shown = f"{share:.1%} ({sum(carried):.1f} of {wanted:.1f})"
    return [Mark(name, says, limit, share, shown, abs(share - 1) <= MAX_DEVIATION)]


def regained_share(run: Run, window: Window) -> Mark:
    """The returned target has its share again."""
    name, says = "after.share", "2 s after the return: the returned target's mean in flight"
    limit = f"within {MAX_DEVIATION:.0%} of the mean of all"
    found = deviations(run.in_flight, window)
    if run.killed not in found or not all(covered(series, window, run.sample_ms) for series in run.in_flight.values()):
        return unmeasured(name, says, limit)
    off = found[run.killed]
    return Mark(name, says, limit, abs(off), f"{off:+.1%} ({run.killed})", abs(off) <= MAX_DEVIATION)


def unmeasured(name: str, says: str, limit: str) -> Mark:
    """A miss for want of samples."""
    return Mark(name, says, limit, None, "too few samples", passed=False)


def covered(series: Series, window: Window, sample_ms: int) -> bool:
    """Whether a series has enough samples of a stretch to judge by."""
    return len(window.cut(series)) >= needed(window, sample_ms)


def needed(window: Window, sample_ms: int) -> float:
    """How many samples a stretch must have; never satisfied by none."""
    return max(1.0, MIN_COVERAGE * (window.end_ms - window.start_ms) / sample_ms)
