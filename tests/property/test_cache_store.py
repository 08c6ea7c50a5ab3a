"""The store beside a dictionary, under any order of what several workers and the supervisor do."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from equipoise.state.cache_record import Entry
from equipoise.state.cache_store import ALONE, FAILED, FOLLOW, LEAD, READY, STORED, UNSHARED
from tests.support.stores import Balancer, key, parts

ROWS = 3
WORKERS = st.integers(0, ROWS - 1)
NAMES = st.integers(0, 11)
PATHS = st.sampled_from([b"/", b"/a", b"/a?q", b"/a/b", b"/b"])
# How long an entry is good, and how long ago its request began.
TIMES = st.tuples(st.integers(1, 60), st.integers(0, 9))
PASSES = 20


class Stores(RuleBasedStateMachine):
    """The model: what was stored last for each name, and who fetches it."""

    largest = 300
    # So large that nothing leaves, and that no name finds the place of its claim taken by others.
    max_bytes = 4 << 20
    may_lose = False

    @initialize()
    def begin(self) -> None:
        self.balancer = Balancer(ROWS, self.max_bytes)
        self.workers = [self.balancer.worker(row) for row in range(ROWS)]
        self.now = 1
        self.floor = 0
        self.held: dict[int, Entry] = {}
        self.claims: dict[int, tuple[int, int, int]] = {}  # name -> worker (-1 passing), since, until
        self.tries: list[int] = []
        self.hits = self.misses = 0

    @rule(worker=WORKERS, name=NAMES, path=PATHS, size=st.integers(0, 1_000), times=TIMES)
    def put(self, worker: int, name: int, path: bytes, size: int, times: tuple[int, int]) -> None:
        life, age = times
        self.now += 1
        body = bytes([name]) * (size * self.largest // 1_000)
        stored = Entry(path, b"head", body, self.now, self.now + life)
        began = self.now - age
        assert self.workers[worker].put(key(name), stored, began) == (began > self.floor)
        if began > self.floor:
            self.held[name] = stored

    @rule(worker=WORKERS, name=NAMES)
    def get(self, worker: int, name: int) -> None:
        found = parts(self.workers[worker].get(key(name), self.now))
        self.workers[worker].count(found is not None)
        self.hits += found is not None
        self.misses += found is None
        expected = self.usable(name)
        assert found == parts(expected) or (self.may_lose and found is None)

    @rule(worker=WORKERS, name=NAMES)
    def delete(self, worker: int, name: int) -> None:
        self.workers[worker].delete(key(name))
        self.held.pop(name, None)

    @rule(steps=st.integers(1, 30))
    def wait(self, steps: int) -> None:
        self.now += steps

    @rule()
    def purge_all(self) -> None:
        self.balancer.supervisor.purge_all(self.now)
        self.floor = self.now
        self.held.clear()

    @rule(path=PATHS, is_prefix=st.booleans(), cells=st.integers(1, 100))
    def purge(self, path: bytes, is_prefix: bool, cells: int) -> None:
        work = self.balancer.supervisor.purge(path, is_prefix, self.now)
        while not work.step(cells):
            pass
        self.floor = self.now
        gone = [
            name
            for name, each in self.held.items()
            if (each.path.startswith(path) if is_prefix else path in (each.path, each.path.partition(b"?")[0]))
        ]
        if not self.may_lose:
            assert work.dropped == len(gone)
        for name in gone:
            del self.held[name]

    @rule(worker=WORKERS, name=NAMES, life=st.integers(1, 60))
    def claim(self, worker: int, name: int, life: int) -> None:
        self.now += 1
        verdict = self.workers[worker].begin(key(name), self.now, self.now + life, 0)
        owner, _, until = self.claims.get(name, (0, 0, 0))
        if self.may_lose and self.usable(name) is not None and verdict != READY:
            del self.held[name]
        if self.usable(name) is not None:
            assert verdict == READY
        else:
            # Where many keys share their places a claim may not have found one, and then nobody knows of it.
            awaited = (ALONE if owner < 0 else FOLLOW) if until > self.now else LEAD
            assert verdict == awaited or (self.may_lose and verdict == LEAD)
            if verdict == LEAD:
                self.claims[name] = (worker, self.now, self.now + life)

    @rule(worker=WORKERS, name=NAMES, outcome=st.sampled_from([STORED, FAILED, UNSHARED]))
    def end_claim(self, worker: int, name: int, outcome: int) -> None:
        owner, since, _ = self.claims.get(name, (-1, 0, 0))
        self.workers[worker].end(key(name), since, outcome, self.now + PASSES)
        if owner == worker:
            del self.claims[name]
            if outcome == UNSHARED:
                self.claims[name] = (-1, since, self.now + PASSES)

    @rule(worker=WORKERS)
    def die(self, worker: int) -> None:
        self.workers[worker].flush()
        self.workers[worker] = self.balancer.worker(worker)
        assert self.balancer.supervisor.release(worker)
        self.claims = {name: claim for name, claim in self.claims.items() if claim[0] != worker}

    def usable(self, name: int) -> Entry | None:
        found = self.held.get(name)
        return found if found is not None and found.expires_ns > self.now else None

    @invariant()
    def counts_are_true(self) -> None:
        stats = self.balancer.stats(*self.workers)
        assert stats["entries"] <= len(self.held) if self.may_lose else stats["entries"] == len(self.held)
        assert (stats["hits"], stats["misses"]) == (self.hits, self.misses)
        assert (stats["busy"], stats["damaged"]) == (0, 0)
        assert 0 <= stats["bytes"] <= stats["max_bytes"]


class FullStores(Stores):
    """Entries so large that they push each other out: then less is found, but never anything else."""

    largest = 9_000
    max_bytes = 64 * 1024
    may_lose = True


TestStores = Stores.TestCase
TestFullStores = FullStores.TestCase
TestStores.settings = TestFullStores.settings = settings(max_examples=60, stateful_step_count=60, deadline=None)
