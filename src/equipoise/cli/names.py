"""Which pool and which target a command means.

Owns: the pool that is meant when none is named, and the sentence for a name that does not exist.
Refuses to know: what is done to them.
"""

from collections.abc import Iterable

from equipoise.cli.answers import PoolStatus, Status, TargetStatus
from equipoise.cli.options import WRONG_USAGE, CommandError
from equipoise.config.leaves import nearest


def choose_pool(status: Status, wanted: str) -> str:
    """The pool that is named, or the only one. Raises CommandError."""
    if wanted:
        _require("pool", wanted, status.pools)
        return wanted
    if len(status.pools) == 1:
        return next(iter(status.pools))
    raise CommandError(f"there are several pools; choose one with --pool: {', '.join(status.pools)}", WRONG_USAGE)


def choose_target(pool: str, status: PoolStatus, wanted: str) -> TargetStatus:
    """The target of that name. Raises CommandError."""
    targets = {target.name: target for target in status.targets}
    _require("target", wanted, targets, f" in pool {pool}")
    return targets[wanted]


def _require(kind: str, wanted: str, known: Iterable[str], where: str = "") -> None:
    names = list(known)
    if wanted not in names:
        listed = ", ".join(names) or "none"
        raise CommandError(f'there is no {kind} "{wanted}"{where}{nearest(wanted, names)} (there: {listed})')
