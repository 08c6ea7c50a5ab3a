"""Waiting for what another process does: look again and again, until a deadline that only a defect reaches.

Owns: the one loop with a pause in it.
Refuses to know: what is waited for.
"""

import time
from collections.abc import Callable
from typing import TypeVar

# Machines are shared, and the interpreted mode is slow: this is how long anything may take before it counts as broken.
PATIENCE = 30.0

Seen = TypeVar("Seen")


def eventually(look: Callable[[], Seen], good: Callable[[Seen], bool] = bool, within: float = PATIENCE) -> Seen:
    """What `look` returns once `good` finds it good; fails with what was seen last when the deadline passes."""
    deadline = time.monotonic() + within
    while not good(seen := look()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within:g} s; last seen: {seen!r}")
        time.sleep(0.01)
    return seen


def stays(look: Callable[[], Seen], good: Callable[[Seen], bool] = bool, seconds: float = 0.3) -> None:
    """Fails when `look` shows something that is not `good` within the time: for what must not happen."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert good(seen := look()), f"it did not stay so: {seen!r}"
        time.sleep(0.01)
