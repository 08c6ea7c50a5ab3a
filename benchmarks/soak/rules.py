"""Which request may fail, and why: everything else must be answered, and rightly.

Owns: the rules. They are the promises of docs/how-to/health-and-retries.md, turned round.
Refuses to know: how requests are made, how incidents are caused.
"""

import math
from collections.abc import Sequence
from typing import Final

from benchmarks.soak.record import Failure, Incident, Loss, What

# Seconds between `limits.response_timeout` of the balancer under test and what a frozen target may cost.
RESPONSE_TIMEOUT_S: Final = 3.0
# How far a moment that this process notes may lie from the one at which the kernel acts.
SLACK_S: Final = 0.5
# A connection that was made so shortly after a kill is taken for one of the dead worker's.
ACCEPT_SLACK_S: Final = 0.05
# Lines of the access log that a worker has not written when it is killed were of requests that ended so shortly before.
LOG_DELAY_S: Final = 1.0

DESCRIPTIONS: Final = {
    What.TARGET_KILLED: (
        "A request in flight at the target that is killed: a POST, a call or a WebSocket may fail (502, UNAVAILABLE), "
        "and any answer that had begun may be cut. A GET without a byte of its answer must be answered by another."
    ),
    What.TARGET_FROZEN: (
        "A request that overlaps the freeze, or the response timeout after it: a POST or a call may be answered 504 "
        "(DEADLINE_EXCEEDED), and an answer that had begun may be cut. A GET without a byte of its answer must be "
        "answered by another target, and a WebSocket must live on."
    ),
    What.WORKER_KILLED: (
        "A request on a connection that was made before the kill may lose it. On a connection that was made after, no "
        "request may fail: it waits for the worker's successor."
    ),
}


def excuse(failure: Failure, incidents: Sequence[Incident]) -> Incident | None:
    """The incident that a failure is forgiven for; None when nothing allows it."""
    return next((each for each in incidents if _excused(failure, each)), None)


def line_may_be_missing(started: float, ended: float, incidents: Sequence[Incident]) -> bool:
    """Whether the line of an answered request may be missing: which worker had it is not known.

    A slow reader has the rest of its answer from the system long after the worker is dead that gave it.
    """
    return any(
        each.what is What.WORKER_KILLED and started - SLACK_S <= each.began <= ended + LOG_DELAY_S for each in incidents
    )


def _excused(failure: Failure, incident: Incident) -> bool:
    if incident.what is What.WORKER_KILLED:
        return _worker_killed(failure, incident)
    if failure.request.pool not in incident.pools:
        return False
    if incident.what is What.TARGET_KILLED:
        return _target_killed(failure, incident)
    return _target_frozen(failure, incident)


def _target_killed(failure: Failure, incident: Incident) -> bool:
    request = failure.request
    if request.started > incident.began + SLACK_S or failure.ended < incident.began:
        return False
    return failure.loss is Loss.CUT or (failure.loss is Loss.STATUS and failure.status == 502 and not request.safe)


def _target_frozen(failure: Failure, incident: Incident) -> bool:
    request = failure.request
    if request.started > incident.ended + SLACK_S or failure.ended < incident.began:
        return False
    if failure.ended > incident.ended + RESPONSE_TIMEOUT_S + SLACK_S or request.pool == "sockets":
        return False
    return failure.loss is Loss.CUT or (failure.loss is Loss.STATUS and failure.status == 504 and not request.safe)


def _worker_killed(failure: Failure, incident: Incident) -> bool:
    request = failure.request
    if request.connected > incident.began + ACCEPT_SLACK_S or failure.ended < incident.began:
        return False
    # An idle client may learn only from its next request that its connection is gone. Where it is not known which
    # connection that was, it has a moment to learn it.
    known = request.connected > -math.inf
    return failure.loss in {Loss.LOST, Loss.CUT} and (known or request.started <= incident.began + 2 * SLACK_S)
