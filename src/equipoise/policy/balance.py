"""Algorithms: which target takes the next request.

Owns: the choice among the targets that are up.
Refuses to know: health, connections, where the numbers in `Loads` come from, the clock and the random generator
(arguments).

An algorithm is built anew whenever the targets of its pool change; what must outlive that is in the ledger. Users write
their own by subclassing `Algorithm` in plain Python: `algorithm = "python:module:Class"`.
"""

from collections.abc import Callable, Mapping
from typing import ClassVar, Final

from librt.vecs import vec
from mypy_extensions import i64, mypyc_attr

from equipoise.wire.message import Request

# Larger than any score; the score of a target that may not be chosen.
NEVER: Final = 1 << 62
# response_time: a target nobody chose for this long is tried, so that one that healed is noticed (Traefik #12306
# starved it).
TRY_AFTER_NS: Final = 1_000_000_000
# ... but at most one pick in this many is such a try, so that slow targets do not dominate a quiet pool.
TRY_EVERY: Final = 20
# One pass of a target with weight 1 in the weighted tie-break; divisible by the weights that people use.
STRIDE: Final = 2_520 * 1_000

# Longest cycle of the weighted round robin; weights whose sum is larger are rounded to it, at most 1 in 4096 off.
MAX_CYCLE: Final = 4_096


class Loads:
    """The numbers that algorithms choose by: one entry for each target of a pool that is up, by its index.

    Mutable and shared: the data path counts in it, algorithms only read.
    """

    def __init__(self, names: list[str], weights: list[int], limits: list[int]) -> None:
        """Starts with nothing in flight.

        Args:
            names: the targets' names.
            weights: their weights, 1 or more.
            limits: their most requests in flight; 0 for no limit.
        """
        zeros = [0] * len(names)
        self.names = names
        self.size: i64 = len(names)
        self.weight: vec[i64] = vec[i64](weights)
        self.limit: vec[i64] = vec[i64](limits)
        self.total: vec[i64] = vec[i64](zeros)
        self.mean: vec[i64] = vec[i64](zeros)
        # No target is below it in flight; the least loaded one may be above.
        self.floor: i64 = 0
        # Requests that all workers together gave to this pool: where the rotation stands.
        self.picks: i64 = 0
        # All targets alike and none limited: the number in flight alone decides.
        self.plain = len(set(weights)) <= 1 and not any(limits)

    def refresh(self, now: i64) -> None:
        """Makes `total`, `floor` and `picks` current over all workers.

        Args:
            now: monotonic clock, nanoseconds.
        """

    def in_flight(self, index: int) -> int:
        """Requests in flight at a target, over all workers."""
        return self.total[i64(index)]

    def mean_ns(self, index: int) -> int:
        """Mean response time of a target over the last 5 minutes and all workers, nanoseconds; 0 without a sample."""
        return self.mean[i64(index)]

    def free(self, index: i64, skip: list[int] | None) -> bool:
        """Whether a target may be chosen: not in `skip`, and below its limit."""
        limit = self.limit[index]
        if limit and self.total[index] >= limit:
            return False
        return skip is None or int(index) not in skip

    def any_full(self, skip: list[int] | None) -> bool:
        """Whether a target that is not in `skip` may not be chosen only because it is at its limit."""
        index: i64 = 0
        while index < self.size:
            limit = self.limit[index]
            if limit and self.total[index] >= limit and (skip is None or int(index) not in skip):
                return True
            index += 1
        return False


@mypyc_attr(allow_interpreted_subclasses=True)
class Algorithm:
    """Chooses among the targets of one pool."""

    # What the name promises, in one line; a class variable, so that it is there without an instance when compiled too.
    promise: ClassVar[str] = ""

    def __init__(self, loads: Loads, draw: Callable[[], float]) -> None:
        """Is built for a fixed set of targets.

        Args:
            loads: their numbers.
            draw: a uniform random number from 0 up to 1.
        """
        self.loads = loads
        self.draw = draw

    def pick(self, request: Request, now: i64, skip: list[int] | None) -> i64:
        """Chooses a target.

        Args:
            request: the request to be placed; `method`, `target`, `host` and `find(name)` are there to decide by.
            now: monotonic clock, nanoseconds.
            skip: indices that this request was tried at already.

        Returns:
            The index of a target for which `self.loads.free(index, skip)` holds; -1 when there is none.
        """
        raise AssertionError("pick is missing")


class RoundRobin(Algorithm):
    """Each in turn, by weight, over all workers together.

    The name does not promise even load: a slow target gets as many requests as a fast one.
    """

    promise: ClassVar[str] = "each target in turn, in proportion to its weight; blind to load"

    def __init__(self, loads: Loads, draw: Callable[[], float]) -> None:
        super().__init__(loads, draw)
        self.order: vec[i64] = vec[i64](smooth_order([int(loads.weight[i64(i)]) for i in range(int(loads.size))]))

    def pick(self, request: Request, now: i64, skip: list[int] | None) -> i64:
        """See `Algorithm.pick`."""
        loads = self.loads
        order = self.order
        size: i64 = len(order)
        if size == 0:
            return -1
        at = loads.picks % size
        tries: i64 = 0
        while tries < size:
            index = order[at]
            if loads.free(index, skip):
                return index
            at = at + 1 if at + 1 < size else 0
            tries += 1
        return -1


class Random(Algorithm):
    """Any target, by weight. Even in the long run; at any moment some have more in flight than others."""

    promise: ClassVar[str] = "a uniformly random target, in proportion to its weight; blind to load"

    def pick(self, request: Request, now: i64, skip: list[int] | None) -> i64:
        """See `Algorithm.pick`."""
        loads = self.loads
        size = loads.size
        i: i64 = 0
        if loads.plain and skip is None and size > 0:
            i = i64(int(self.draw() * float(int(size))))
            return i if i < size else size - 1
        whole: i64 = 0
        while i < size:
            if loads.free(i, skip):
                whole += loads.weight[i]
            i += 1
        if whole == 0:
            return -1
        point = i64(int(self.draw() * float(int(whole))))
        last: i64 = -1
        i = 0
        while i < size:
            if loads.free(i, skip):
                last = i
                point -= loads.weight[i]
                if point < 0:
                    break
            i += 1
        return last


class LeastInFlight(Algorithm):
    """The target with the fewest requests in flight, counted over all workers and in proportion to its weight.

    Counts requests, not connections; one that waits for a connection is counted already. Among equals, each in turn.
    """

    promise: ClassVar[str] = (
        "the fewest requests in flight, exact over all workers, in proportion to weight; equals take turns"
    )

    def __init__(self, loads: Loads, draw: Callable[[], float]) -> None:
        super().__init__(loads, draw)
        self.turns = Turns(loads)

    def pick(self, request: Request, now: i64, skip: list[int] | None) -> i64:
        """See `Algorithm.pick`."""
        loads = self.loads
        if skip is not None or not loads.plain:
            return self._pick_weighted(skip)
        size = loads.size
        if size == 0:
            return -1
        total = loads.total
        floor = loads.floor
        start = loads.picks % size
        best: i64 = NEVER
        index: i64 = -1
        i = start
        while i < size:
            here = total[i]
            if here < best:
                best = here
                index = i
                if here <= floor:
                    return index
            i += 1
        i = 0
        while i < start:
            here = total[i]
            if here < best:
                best = here
                index = i
                if here <= floor:
                    return index
            i += 1
        loads.floor = best
        return index

    def _pick_weighted(self, skip: list[int] | None) -> i64:
        """Compares in_flight / weight by cross multiplication: exact, and ties stay ties."""
        loads = self.loads
        turns = self.turns
        best: i64 = -1
        i: i64 = 0
        while i < loads.size:
            if loads.free(i, skip):
                if best < 0:
                    best = i
                else:
                    here = loads.total[i] * loads.weight[best]
                    there = loads.total[best] * loads.weight[i]
                    if here < there or (here == there and turns.before(i, best)):
                        best = i
            i += 1
        if best >= 0:
            turns.took(best)
        return best


class ResponseTime(Algorithm):
    """The target where a request is expected to be answered first: mean response time x (in flight + 1) / weight.

    The mean is the true one of the last 5 minutes over all workers. A target without samples counts as average, so
    that it is tried; one that nobody chose for a second is tried too, so that one that was slow and healed gets its
    share back.
    """

    promise: ClassVar[str] = (
        "the lowest mean response time of the last 5 minutes x (in flight + 1) / weight; never starves a target"
    )

    def __init__(self, loads: Loads, draw: Callable[[], float]) -> None:
        super().__init__(loads, draw)
        self.turns = Turns(loads)
        self.chosen: vec[i64] = vec[i64]([0] * int(loads.size))
        self.until_try: i64 = TRY_EVERY

    def pick(self, request: Request, now: i64, skip: list[int] | None) -> i64:
        """See `Algorithm.pick`."""
        loads = self.loads
        turns = self.turns
        average = self._average()
        self.until_try -= 1
        best: i64 = -1
        best_score: i64 = NEVER
        neglected: i64 = -1
        i: i64 = 0
        while i < loads.size:
            if loads.free(i, skip):
                mean = loads.mean[i]
                if mean == 0:
                    mean = average
                score = mean * (loads.total[i] + 1) // loads.weight[i]
                if score < best_score or (score == best_score and turns.before(i, best)):
                    best = i
                    best_score = score
                if neglected < 0 or self.chosen[i] < self.chosen[neglected]:
                    neglected = i
            i += 1
        if self.until_try <= 0 and neglected >= 0 and now - self.chosen[neglected] > TRY_AFTER_NS:
            self.until_try = TRY_EVERY
            best = neglected
        if best >= 0:
            self.chosen[best] = now
            turns.took(best)
        return best

    def _average(self) -> i64:
        """The mean of the known means; 1 while none is known, which leaves the number in flight to decide."""
        loads = self.loads
        whole: i64 = 0
        known: i64 = 0
        i: i64 = 0
        while i < loads.size:
            if loads.mean[i] > 0:
                whole += loads.mean[i]
                known += 1
            i += 1
        return whole // known if known else 1


class Turns:
    """Turns among equals in proportion to their weights (stride scheduling, Waldspurger 1995).

    A target that was not among the equals for long does not save up turns: its pass never lags behind the last one
    taken.
    """

    def __init__(self, loads: Loads) -> None:
        self.weight = loads.weight
        self.passes: vec[i64] = vec[i64]([0] * int(loads.size))
        self.now: i64 = 0
        self.last: i64 = -1

    def before(self, one: i64, other: i64) -> bool:
        """Whether it is rather the turn of `one`."""
        a = self.passes[one]
        b = self.passes[other]
        now = self.now
        a = max(a, now)
        b = max(b, now)
        if a != b:
            return a < b
        # Equal passes: the next index behind the last one taken, round the ring.
        last = self.last
        return (one > last) > (other > last) if (one > last) != (other > last) else one < other

    def took(self, index: i64) -> None:
        """Notes a turn."""
        start = self.passes[index]
        start = max(start, self.now)
        self.passes[index] = start + STRIDE // self.weight[index]
        self.now = start
        self.last = index


def smooth_order(weights: list[int]) -> list[int]:
    """One cycle of weighted round robin without bursts (nginx's smooth algorithm): 5,1,1 gives a a b a c a a.

    Args:
        weights: 1 or more each.

    Returns:
        Indices, each as often as its weight divided by their common divisor.
    """
    divisor = 0
    for weight in weights:
        a, b = divisor, weight
        while b:
            a, b = b, a % b
        divisor = a
    shares = [weight // divisor for weight in weights]
    if sum(shares) > MAX_CYCLE:
        shares = [max(1, share * MAX_CYCLE // sum(shares)) for share in shares]
    whole = sum(shares)
    current = [0] * len(shares)
    order = []
    for _ in range(whole):
        best = 0
        for i, share in enumerate(shares):
            current[i] += share
            if current[i] > current[best]:
                best = i
        current[best] -= whole
        order.append(best)
    return order


ALGORITHMS: Final[Mapping[str, type[Algorithm]]] = {
    "round_robin": RoundRobin,
    "random": Random,
    "least_in_flight": LeastInFlight,
    "response_time": ResponseTime,
}
