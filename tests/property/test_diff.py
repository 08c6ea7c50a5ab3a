"""Changes between any two worlds lead from the one to the other."""

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from equipoise.config.diff import apply, decode, diff, encode
from equipoise.model import (
    AccessLogSpec,
    CacheSpec,
    CertificateSpec,
    LimitsSpec,
    ListenerTlsSpec,
    PoolSpec,
    RetrySpec,
    RouteSpec,
    TargetSpec,
    TargetState,
    TargetTlsSpec,
    TlsFile,
    World,
)

# Few names and few values: two random worlds then share most of what they have, in another order.
NAMES = st.sampled_from("abcdef")


def of_distinct_names(values: st.SearchStrategy[TargetSpec]) -> st.SearchStrategy[tuple[TargetSpec, ...]]:
    return st.lists(values, max_size=6, unique_by=lambda value: value.name).map(tuple)


TARGETS = st.builds(
    TargetSpec,
    name=NAMES,
    url=st.sampled_from(["http://x", "http://y"]),
    host=st.just("x"),
    port=st.just(80),
    slot=st.integers(0, 2),
    addresses=st.sampled_from([(), ("10.0.0.1",), ("10.0.0.1", "::1")]),
    weight=st.integers(1, 2),
    max_in_flight=st.integers(0, 1),
    state=st.sampled_from(TargetState),
    scheme=st.sampled_from(["http", "https"]),
    tls=st.none() | st.builds(TargetTlsSpec, ca=NAMES, verify=st.booleans()),
)
LISTENERS = st.builds(
    ListenerTlsSpec,
    certificates=st.lists(st.builds(CertificateSpec, certificate=NAMES, key=NAMES), max_size=2).map(tuple),
    http2=st.booleans(),
)
POOLS = st.builds(
    PoolSpec,
    name=NAMES,
    slot=st.integers(0, 1),
    algorithm=st.sampled_from(["random", "round_robin"]),
    targets=of_distinct_names(TARGETS),
    retry=st.builds(RetrySpec, attempts=st.integers(1, 2)),
    failure_statuses=st.sampled_from([(), (502, 503)]),
    panic=st.booleans(),
    cache=st.builds(CacheSpec, enabled=st.booleans(), key_headers=st.sampled_from(["all", (), ("accept",)])),
    cache_section=st.sampled_from([None, (0, 65536), (65536, 65536)]),
)
WORLDS = st.builds(
    World,
    pools=st.lists(POOLS, max_size=4, unique_by=lambda pool: pool.name).map(tuple),
    routes=st.lists(st.builds(RouteSpec, pool=NAMES, path=st.sampled_from(["/", "/a"])), max_size=2).map(tuple),
    limits=st.builds(LimitsSpec, idle_timeout=st.sampled_from([1.0, 0.1])),
    access_log=st.builds(AccessLogSpec, sink=st.sampled_from(["json", "text"])),
    listeners=st.lists(st.none() | LISTENERS, max_size=2).map(tuple),
    files=st.lists(st.builds(TlsFile, digest=NAMES, content=st.binary(max_size=2)), max_size=2).map(tuple),
)


@given(WORLDS, WORLDS)
def test_the_changes_lead_from_the_old_world_to_the_new(old: World, new: World) -> None:
    assert apply(old, diff(old, new)) == new


@given(WORLDS, WORLDS)
def test_they_do_so_after_a_way_over_the_wire(old: World, new: World) -> None:
    assert apply(old, decode(encode(diff(old, new)))) == new


@given(WORLDS)
def test_a_world_does_not_differ_from_itself(world: World) -> None:
    assert diff(world, decoded_copy(world)) == []


@given(WORLDS, st.data())
def test_one_target_that_changes_is_one_change(world: World, data: st.DataObject) -> None:
    places = [(p, t) for p, pool in enumerate(world.pools) for t in range(len(pool.targets))]
    if not places:
        return
    p, t = data.draw(st.sampled_from(places))
    pool = world.pools[p]
    target = replace(pool.targets[t], weight=pool.targets[t].weight + 1)
    changed = replace(pool, targets=(*pool.targets[:t], target, *pool.targets[t + 1 :]))
    new = replace(world, pools=(*world.pools[:p], changed, *world.pools[p + 1 :]))
    assert len(diff(world, new)) == 1


def decoded_copy(world: World) -> World:
    """The same by value, made anew."""
    return apply(World(), decode(encode(diff(World(), world))))
