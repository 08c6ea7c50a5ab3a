"""What a change keeps of a pool's cache, and what its end means to those who still use it."""

from collections.abc import Callable

import pytest
from mypy_extensions import i64

from equipoise.model import CacheSpec, PoolSpec
from equipoise.runtime.cache_memory import open_store
from equipoise.state.cache_flights import Follower
from equipoise.state.cache_port import CachePort, no_store, port_of
from equipoise.state.cache_store import ALONE, FAILED, FOLLOW, LEAD, Store
from tests.support.stores import Balancer, entry, key

KEY = key("k")
ON = CacheSpec(enabled=True)


class Waiting(Follower):
    """Keeps what it was told."""

    def __init__(self) -> None:
        self.told: list[int] = []

    def flight_over(self, verdict: i64, now: i64) -> None:
        self.told.append(int(verdict))


class Fixture:
    """One section, and the ports of a worker over it."""

    def __init__(self) -> None:
        self.balancer = Balancer()
        self.opened = 0
        section = self.balancer.section
        self.section = (section.start, section.max_bytes)

    def open(self, section: tuple[int, int]) -> Store:
        assert section == self.section
        self.opened += 1
        return open_store(self.balancer.memory.files, self.balancer.section, 2, 0)

    def port(self, spec: CacheSpec = ON, before: CachePort | None = None) -> CachePort:
        port = port_of(PoolSpec("p", 0, cache=spec, cache_section=self.section), before, self.open)
        assert port is not None
        return port


@pytest.fixture
def fixture() -> Fixture:
    return Fixture()


@pytest.mark.parametrize(
    "spec",
    [PoolSpec("p", 0, cache=ON), PoolSpec("p", 0, cache_section=(0, 65536)), PoolSpec("p", 0)],
    ids=["no section", "switched off", "neither"],
)
def test_without_a_section_or_the_switch_there_is_no_cache(fixture: Fixture, spec: PoolSpec) -> None:
    assert port_of(spec, None, no_store) is None
    assert port_of(spec, fixture.port(), no_store) is None


def test_who_has_no_caches_opens_none() -> None:
    with pytest.raises(ValueError, match="as at 4096"):
        no_store((4096, 65536))


def test_a_port_whose_settings_and_memory_stay_is_kept(fixture: Fixture) -> None:
    port = fixture.port()
    assert fixture.port(CacheSpec(enabled=True), port) is port


def test_other_settings_go_on_with_the_same_store_and_flights(fixture: Fixture) -> None:
    port = fixture.port()
    after = fixture.port(CacheSpec(enabled=True, mode="rfc9111", max_body=7), port)
    assert after is not port
    assert (after.store, after.flights, fixture.opened) == (port.store, port.flights, 1)
    assert (port.rules.rfc9111, after.rules.rfc9111, int(after.rules.max_body)) == (False, True, 7)
    assert port.is_succeeded_by(after)


def test_other_memory_is_another_store(fixture: Fixture) -> None:
    port = fixture.port()
    fixture.section = (8192, fixture.section[1])
    after = fixture.port(before=port)
    assert after.store is not port.store
    assert not port.is_succeeded_by(after)
    assert not port.is_succeeded_by(None)


def test_a_tick_shows_the_counts_and_gives_up_leaders_that_take_too_long(fixture: Fixture) -> None:
    port, waiting = fixture.port(), Waiting()
    assert port.flights.enter(KEY, Waiting(), 10, 100, 0) == LEAD
    assert port.flights.enter(KEY, waiting, 11, 100, 0) == FOLLOW
    port.store.count(False)
    port.tick(50)
    assert (waiting.told, fixture.balancer.supervisor.stats()["misses"]) == ([], 1)
    port.tick(200)
    assert waiting.told != []


def test_who_waits_at_its_end_goes_on_alone(fixture: Fixture) -> None:
    port, waiting = fixture.port(), Waiting()
    port.flights.enter(KEY, Waiting(), 10, 100, 0)
    port.flights.enter(KEY, waiting, 11, 100, 0)
    port.close(20)
    assert waiting.told == [ALONE]


def test_counts_up_to_its_end_are_shown(fixture: Fixture) -> None:
    port = fixture.port()
    port.store.put(KEY, entry(), 1)
    port.close(20)
    assert fixture.balancer.supervisor.stats()["stores"] == 1


@pytest.mark.parametrize(
    "use",
    [
        lambda port: port.store.put(KEY, entry(b"late"), 30),
        lambda port: port.store.delete(KEY),
        lambda port: port.store.purge(b"/", True, 30).step(1000),
        lambda port: port.flights.end(KEY, 5, FAILED, 30, 0),
        lambda port: port.flights.enter(KEY, Waiting(), 30, 90, 0),
        lambda port: port.tick(500),
    ],
    ids=["put", "delete", "purge", "end", "enter", "tick"],
)
def test_an_exchange_that_outlives_the_cache_leaves_no_trace_in_its_memory(
    fixture: Fixture, use: Callable[[CachePort], object]
) -> None:
    """Another pool may have that memory by then."""
    port = fixture.port()
    port.flights.enter(KEY, Waiting(), 5, 100, 0)
    port.close(20)
    heir = open_store(fixture.balancer.memory.files, fixture.balancer.section, 2, 1)
    heir.put(KEY, entry(b"heir"), 25)
    before = bytes(fixture.balancer.supervisor._memory)
    use(port)
    assert bytes(fixture.balancer.supervisor._memory) == before


def test_an_exchange_that_outlives_the_cache_finds_nothing_and_fetches_alone(fixture: Fixture) -> None:
    port = fixture.port()
    port.store.put(KEY, entry(), 1)
    port.close(20)
    assert port.store.get(KEY, 30) is None
    assert port.flights.enter(KEY, Waiting(), 30, 100, 0) == ALONE
    assert port.store.look_on(KEY, 30, 0) == ALONE
