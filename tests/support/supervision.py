"""The supervisor's half of a simulation.

Owns: what is believed of each target's health, and that every worker hears of a change.
Refuses to know: what targets and workers are made of, and how time passes.
"""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Generic, Protocol, TypeVar

from msgspec.structs import replace

from equipoise.model import Outcome, PoolSpec, TargetState, World
from equipoise.policy.health import Health, HealthRules, elapse, observe


class Row(Protocol):
    """A worker, as far as this half knows it."""

    row: int


Worker = TypeVar("Worker", bound=Row)


class Supervision(ABC, Generic[Worker]):
    """Believes, probes, and tells; a simulation fills in the rest."""

    rules: HealthRules
    # By slot.
    health: dict[int, Health]
    belief: World
    workers: list[Worker]
    outcomes: Counter[str]

    @abstractmethod
    def seconds(self) -> float:
        """The monotonic clock."""

    @abstractmethod
    def later(self, seconds: float, what: Callable[[], None]) -> None:
        """Does something after a while."""

    @abstractmethod
    def tell(self, worker: Worker, belief: World) -> None:
        """A worker hears of what is believed now, if it lives."""

    def probe_target(self, slot: int, *, well: bool) -> None:
        """Probes it, where there are probes, and lets time pass for it."""
        if self.rules.probes:
            self.told(slot, Outcome.PROBE_OK if well else Outcome.PROBE_FAILED)
        self._take(slot, elapse(self.health[slot], self.seconds(), self.rules))

    def told(self, slot: int, outcome: Outcome) -> None:
        """Something became of a request or a probe."""
        self._take(slot, observe(self.health[slot], outcome, self.seconds(), self.rules))

    def change(self, spec: PoolSpec) -> None:
        """Every worker hears of it in order, each at its own time."""
        self.belief = belief = replace(self.belief, pools=(spec,))
        for worker in self.workers:
            # The same for all changes to one worker, so that none overtakes another.
            self.later(0.001 * (1 + worker.row), partial(self.tell, worker, belief))

    def _take(self, slot: int, found: tuple[Health, bool]) -> None:
        self.health[slot], flipped = found
        if flipped:
            self._flip(slot)

    def _flip(self, slot: int) -> None:
        self.outcomes["flips"] += 1
        state = TargetState.UP if self.health[slot].up else TargetState.DOWN
        spec = self.belief.pools[0]
        self.change(
            replace(spec, targets=tuple(replace(t, state=state) if t.slot == slot else t for t in spec.targets))
        )
