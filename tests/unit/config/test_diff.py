import pytest
from msgspec.structs import replace

from equipoise.config.diff import (
    AccessLogChanged,
    Change,
    LimitsChanged,
    PoolAdded,
    PoolRemoved,
    PoolSettingsChanged,
    RoutesChanged,
    TargetAdded,
    TargetChanged,
    TargetRemoved,
    apply,
    decode,
    diff,
    encode,
)
from equipoise.model import AccessLogSpec, LimitsSpec, PoolSpec, RetrySpec, RouteSpec, TargetSpec, TargetState, World


def target(name: str, weight: int = 1) -> TargetSpec:
    return TargetSpec(name, f"http://{name}", name, 80, slot=ord(name), weight=weight)


def pool(name: str, targets: str = "") -> PoolSpec:
    return PoolSpec(name, slot=0, targets=tuple(target(each) for each in targets))


def world(*pools: PoolSpec) -> World:
    return World(pools=pools)


OLD = world(pool("p", "abc"), pool("q", "x"))


def test_equal_worlds_differ_in_nothing() -> None:
    assert diff(OLD, world(pool("p", "abc"), pool("q", "x"))) == []


def test_a_new_pool_comes_with_its_targets() -> None:
    assert diff(world(), OLD) == [PoolAdded(0, OLD.pools[0]), PoolAdded(1, OLD.pools[1])]


def test_a_removed_pool_takes_its_targets_along() -> None:
    assert diff(OLD, world(OLD.pools[1])) == [PoolRemoved("p")]


def test_a_target_in_the_middle_is_added_alone() -> None:
    assert diff(OLD, world(pool("p", "adbc"), pool("q", "x"))) == [TargetAdded("p", 1, target("d"))]


def test_a_target_in_front_is_removed_alone() -> None:
    assert diff(OLD, world(pool("p", "bc"), pool("q", "x"))) == [TargetRemoved("p", "a")]


def test_a_health_flip_is_one_change() -> None:
    down = replace(target("b"), state=TargetState.DOWN)
    new = world(replace(OLD.pools[0], targets=(target("a"), down, target("c"))), OLD.pools[1])
    assert diff(OLD, new) == [TargetChanged("p", 1, down)]


def test_a_target_that_moves_forward_moves_alone() -> None:
    assert diff(OLD, world(pool("p", "cab"), pool("q", "x"))) == [TargetChanged("p", 0, target("c"))]


@pytest.mark.parametrize(
    "settings",
    [
        {"algorithm": "random"},
        {"retry": RetrySpec(attempts=1)},
        {"failure_statuses": (500,)},
        {"panic": True},
        {"slot": 9},
    ],
)
def test_settings_of_a_pool_change_without_its_targets(settings: dict[str, object]) -> None:
    changed = replace(OLD.pools[0], **settings)
    changes = diff(OLD, world(changed, OLD.pools[1]))
    assert [type(change) for change in changes] == [PoolSettingsChanged]
    assert apply(OLD, changes).pools[0] == changed


@pytest.mark.parametrize(
    ("new", "change"),
    [
        (replace(OLD, routes=(RouteSpec("p"),)), RoutesChanged((RouteSpec("p"),))),
        (replace(OLD, limits=LimitsSpec(connections=1)), LimitsChanged(LimitsSpec(connections=1))),
        (replace(OLD, access_log=AccessLogSpec(sink="text")), AccessLogChanged(AccessLogSpec(sink="text"))),
    ],
)
def test_the_rest_changes_as_a_whole(new: World, change: Change) -> None:
    assert diff(OLD, new) == [change]
    assert apply(OLD, [change]) == new


@pytest.mark.parametrize(
    "change",
    [
        PoolRemoved("z"),
        TargetRemoved("z", "a"),
        TargetRemoved("p", "z"),
        TargetChanged("p", 0, target("z")),
        TargetAdded("z", 0, target("d")),
        TargetAdded("p", 0, target("a")),
        PoolAdded(0, pool("p")),
    ],
)
def test_a_change_that_does_not_fit_the_world_is_refused(change: Change) -> None:
    with pytest.raises(LookupError):
        apply(OLD, [change])


def test_a_change_leaves_the_old_world_as_it_was() -> None:
    before = replace(OLD)
    apply(OLD, [PoolRemoved("p")])
    assert before == OLD


def test_changes_survive_the_wire() -> None:
    changes = diff(OLD, world(replace(pool("q", "yx"), panic=True), pool("n", "a")))
    assert decode(encode(changes)) == changes
