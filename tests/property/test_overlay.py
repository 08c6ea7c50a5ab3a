"""Edits through the overlay do what they would do to the targets themselves, and the overlay stays in normal form."""

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from equipoise.config.edits import AddTarget, ChangeTarget, Edit, RemoveTarget, SetAlgorithm, SetCache
from equipoise.config.overlay import ConflictError, Overlay, UnknownNameError, edit, merge, trimmed
from equipoise.config.schema import ALGORITHMS, CacheConfig, Config, PoolConfig, TargetConfig
from equipoise.config.units import parse_duration

NAMES = ("a", "b", "c", "d")
WEIGHTS = st.integers(1, 3)
TTLS = st.sampled_from(("1s", "1m"))


def target(name: str, weight: int = 1, host: int = 1) -> TargetConfig:
    return TargetConfig(f"http://10.0.0.{host}:1", name, weight=weight)


targets = st.builds(target, st.sampled_from(NAMES), WEIGHTS, st.integers(1, 2))
edits = st.one_of(
    st.builds(AddTarget, st.just("p"), targets),
    st.builds(
        ChangeTarget, st.just("p"), st.sampled_from(NAMES), st.none() | WEIGHTS, state=st.sampled_from(["up", "down"])
    ),
    st.builds(RemoveTarget, st.just("p"), st.sampled_from(NAMES)),
    st.builds(SetAlgorithm, st.just("p"), st.sampled_from(ALGORITHMS)),
    st.builds(SetCache, st.just("p"), st.fixed_dictionaries({}, optional={"enabled": st.booleans(), "ttl": TTLS})),
)
files = st.builds(
    lambda targets, algorithm, cache: Config(
        pools={"p": PoolConfig(targets=tuple(targets), algorithm=algorithm, cache=cache)}
    ),
    st.lists(targets, unique_by=lambda each: each.name),
    st.sampled_from(ALGORITHMS),
    st.builds(CacheConfig, st.booleans()),
)


def content(config: Config) -> tuple[str, CacheConfig, dict[str, TargetConfig]]:
    """What a pool is, but for the order of its targets."""
    pool = config.pools["p"]
    return pool.algorithm, pool.cache, {target.name: target for target in pool.targets}


def edited(pool: PoolConfig, wanted: Edit) -> PoolConfig | None:
    """What the edit does to the targets themselves; None when it cannot be done."""
    known = {target.name: target for target in pool.targets}
    match wanted:
        case AddTarget(target=target) if target.name not in known:
            known[target.name] = target
        case ChangeTarget(target=name) if name in known:
            known[name] = replace(known[name], **wanted.values())
        case RemoveTarget(target=name) if name in known:
            del known[name]
        case SetAlgorithm(algorithm=algorithm):
            return replace(pool, algorithm=algorithm)
        case SetCache(changes=changes):
            said = {key: parse_duration(value) if key == "ttl" else value for key, value in changes.items()}
            return replace(pool, cache=replace(pool.cache, **said))
        case _:
            return None
    return replace(pool, targets=tuple(known.values()))


@given(files, st.lists(edits, max_size=12))
def test_the_merged_configuration_is_what_the_edits_make_of_the_file(file: Config, wanted: list[Edit]) -> None:
    overlay, expected = Overlay(), file.pools["p"]
    for each in wanted:
        made = edited(expected, each)
        try:
            overlay = edit(file, overlay, each)
        except (ConflictError, UnknownNameError):
            assert made is None
        else:
            assert made is not None
            expected = made
        assert content(merge(file, overlay)) == content(Config(pools={"p": expected}))


@given(files, st.lists(edits, max_size=12))
def test_an_overlay_is_always_in_normal_form(file: Config, wanted: list[Edit]) -> None:
    overlay = Overlay()
    for each in wanted:
        try:
            overlay = edit(file, overlay, each)
        except (ConflictError, UnknownNameError):
            continue
        assert trimmed(file, overlay) == overlay
        assert (overlay == Overlay()) <= (merge(file, overlay) == file)
        for over in overlay.pools.values():
            said = [*over.added, *over.removed, *over.changed]
            assert len(said) == len(set(said))


@given(files, files, st.lists(edits, max_size=8))
def test_trimming_changes_nothing_of_what_runs(file: Config, later: Config, wanted: list[Edit]) -> None:
    overlay = Overlay()
    for each in wanted:
        try:
            overlay = edit(file, overlay, each)
        except (ConflictError, UnknownNameError):
            continue
    assert merge(later, trimmed(later, overlay)) == merge(later, overlay)
