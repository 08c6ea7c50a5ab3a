"""What a worker believes, made from a world."""

from collections.abc import Callable
from typing import Any

import pytest

from equipoise.model import CacheSpec, LimitsSpec, RetrySpec, RouteSpec, TargetSpec, TargetState, World
from equipoise.policy.balance import ALGORITHMS, Algorithm, Loads, RoundRobin
from equipoise.state.ledger import Ledger
from equipoise.state.snapshot import Makers, Snapshot, build, choosable
from tests.support.ledgers import ledgers, pool, target, world
from tests.support.stores import SmallCaches

UP, DOWN, DRAINING = TargetState.UP, TargetState.DOWN, TargetState.DRAINING


def make(name: str, loads: Loads) -> Algorithm:
    return ALGORITHMS[name](loads, lambda: 0.5)


@pytest.fixture
def ledger() -> Ledger:
    return ledgers(1)[1][0]


@pytest.fixture
def built(ledger: Ledger) -> Callable[..., Snapshot]:
    def from_world(belief: World, before: Snapshot | None = None) -> Snapshot:
        return build(belief, before, ledger, Makers(make, store=CACHES.open))

    return from_world


def test_a_snapshot_has_the_targets_that_may_be_chosen(built: Callable[..., Snapshot]) -> None:
    web = pool(target("a", 1, weight=2, max_in_flight=7), target("b", 2, state=DOWN), target("c", 3))
    found = built(world(web)).pools["web"]
    assert [(each.name, int(each.slot), each.port) for each in found.targets] == [("a", 1, 80), ("c", 3, 80)]
    assert (found.loads.names, [found.loads.weight[i] for i in range(2)]) == (["a", "c"], [2, 1])
    assert not found.loads.plain


@pytest.mark.parametrize(
    ("targets", "panic", "names"),
    [
        ([("a", UP), ("b", DOWN), ("c", DRAINING)], False, ["a"]),
        ([("a", UP), ("b", DOWN), ("c", DRAINING)], True, ["a"]),
        ([("a", DOWN), ("b", DRAINING)], False, []),
        ([("a", DOWN), ("b", DRAINING)], True, ["a"]),
        ([], True, []),
    ],
)
def test_who_may_be_chosen(targets: list[tuple[str, TargetState]], panic: bool, names: list[str]) -> None:
    specs = [target(name, slot, state=state) for slot, (name, state) in enumerate(targets, 1)]
    assert [each.name for each in choosable(pool(*specs, panic=panic))] == names


@pytest.mark.parametrize("state", [UP, DOWN])
def test_a_target_whose_name_does_not_resolve_cannot_be_chosen(state: TargetState) -> None:
    assert choosable(pool(target("a", 1, state=state, addresses=()), panic=True)) == []


def test_a_pool_that_did_not_change_is_taken_over_whole(built: Callable[..., Snapshot]) -> None:
    other = pool(target("z", 11), name="other", slot=10)
    before = built(world(pool(target("a", 1)), other))
    after = built(world(pool(target("a", 1), target("b", 2)), other), before)
    assert after.pools["other"] is before.pools["other"]
    assert after.pools["web"] is not before.pools["web"]


def test_what_is_in_flight_is_there_in_the_next_snapshot(built: Callable[..., Snapshot]) -> None:
    before = built(world(pool(target("a", 1), target("b", 2))))
    lease = before.pools["web"].loads.take(1)
    after = built(world(pool(target("b", 2), target("c", 3))), before)
    assert [after.pools["web"].loads.in_flight(i) for i in range(2)] == [1, 0]
    lease.release()
    after.pools["web"].loads.refresh(0)
    assert after.pools["web"].loads.in_flight(0) == 0


def test_a_budget_outlives_a_change_of_the_targets(built: Callable[..., Snapshot]) -> None:
    before = built(world(pool(target("a", 1))))
    after = built(world(pool(target("b", 2))), before)
    assert after.pools["web"].budget is before.pools["web"].budget


def test_a_budget_with_other_rules_is_another_budget(built: Callable[..., Snapshot]) -> None:
    before = built(world(pool(target("a", 1))))
    after = built(world(pool(target("a", 1), retry=RetrySpec(budget=0.5))), before)
    assert after.pools["web"].budget is not before.pools["web"].budget
    assert after.pools["web"].budget.share == 0.5


CACHES = SmallCaches()
CACHED: dict[str, Any] = {"cache": CacheSpec(enabled=True), "cache_section": CACHES.section}


def test_a_cache_outlives_a_change_of_the_targets(built: Callable[..., Snapshot]) -> None:
    before = built(world(pool(target("a", 1), **CACHED)))
    after = built(world(pool(target("b", 2), **CACHED)), before)
    assert before.pools["web"].cache is not None
    assert after.pools["web"].cache is before.pools["web"].cache


def test_a_cache_that_is_switched_off_is_none(built: Callable[..., Snapshot]) -> None:
    before = built(world(pool(target("a", 1), **CACHED)))
    assert built(world(pool(target("a", 1))), before).pools["web"].cache is None


def test_another_algorithm_is_made_anew(built: Callable[..., Snapshot]) -> None:
    before = built(world(pool(target("a", 1), algorithm="random")))
    after = built(world(pool(target("a", 1), algorithm="round_robin")), before)
    assert isinstance(after.pools["web"].algorithm, RoundRobin)


def test_an_algorithm_that_cannot_be_made_makes_no_snapshot(built: Callable[..., Snapshot]) -> None:
    with pytest.raises(KeyError):
        built(world(pool(algorithm="nothing")))


def test_one_pool_without_routes_serves_everything(built: Callable[..., Snapshot]) -> None:
    snapshot = built(world(pool()))
    assert snapshot.single is snapshot.pools["web"]
    assert snapshot.router.match(None, b"/") == "web"


@pytest.mark.parametrize(
    "belief",
    [world(pool(), routes=(RouteSpec(pool="web"),)), world(pool(), pool(name="other", slot=10)), world()],
    ids=["routes", "two pools", "no pool"],
)
def test_otherwise_every_request_is_routed(built: Callable[..., Snapshot], belief: World) -> None:
    assert built(belief).single is None


def test_hosts_of_routes_are_compared_as_clients_send_them(built: Callable[..., Snapshot]) -> None:
    snapshot = built(world(pool(), routes=(RouteSpec(pool="web", host="Bücher.Example", path="/ä"),)))
    assert snapshot.router.match(b"xn--bcher-kva.example", "/ä/b".encode()) == "web"


def test_limits_are_in_nanoseconds(built: Callable[..., Snapshot]) -> None:
    limits = built(world(limits=LimitsSpec(head_timeout=0.5, connect_timeout=2.5, header_count=7))).limits
    assert (limits.head_ns, limits.connect_seconds, limits.header_count) == (500_000_000, 2.5, 7)


def test_owners_are_all_targets_up_or_not(built: Callable[..., Snapshot]) -> None:
    snapshot = built(world(pool(target("a", 1), target("b", 2, state=DOWN)), pool(target("a", 11), name="o", slot=10)))
    assert snapshot.owners() == {1: ("web", "a"), 2: ("web", "b"), 11: ("o", "a")}


@pytest.mark.parametrize("count", [0, 255, 256, 10_000])
def test_a_reason_tells_the_number_in_flight(built: Callable[..., Snapshot], count: int) -> None:
    reason = built(world(pool(target("a", 1), algorithm="least_in_flight"))).pools["web"].reason(count)
    assert reason == f"least_in_flight: {count} in flight, 1 targets"


def test_a_snapshot_keeps_the_world_it_was_made_of(built: Callable[..., Snapshot]) -> None:
    belief = world(pool(TargetSpec("a", "http://a", "a", 80, 1)))
    assert built(belief).world is belief
