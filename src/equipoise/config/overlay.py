"""What admin calls changed, kept apart from the file and laid over it.

Owns: the sum of all accepted edits in normal form, what an edit does to it, and the configuration that results.
Refuses to know: where the overlay is kept, who edits, what acts on the configuration.

Everything here is pure. Pools are known by name, and targets by name within their pool. The overlay says only what
differs from the file: a value that the file has as well belongs to the file again. What no longer fits, since the file
lost the pool or target, has no effect and is kept for the day when it fits again.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final, cast

from msgspec import Struct
from msgspec.structs import asdict, replace

from equipoise.config.checks import check
from equipoise.config.decode import decode_as, plain
from equipoise.config.edits import AddTarget, ChangeTarget, Edit, RemoveTarget, SetAlgorithm, SetCache
from equipoise.config.load import completed_target
from equipoise.config.problems import ConfigError, Place, Problem, dotted
from equipoise.config.schema import AlgorithmName, CacheConfig, Config, PoolConfig, TargetConfig

_MISSING: Final = object()


class UnknownNameError(LookupError):
    """There is no pool or target of that name."""

    def __init__(self, kind: str, name: str) -> None:
        """`kind` is "pool" or "target"."""
        super().__init__(f'there is no {kind} "{name}"')
        self.kind = kind
        self.name = name


class ConflictError(Exception):
    """An edit that contradicts what is there; the text says how."""


class TargetChange(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """What differs from the file at a target that the file has."""

    weight: int | None = None
    max_in_flight: int | None = None
    state: str | None = None


class CacheChange(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """What differs from the file at the cache of a pool; each key is one of `CacheConfig`."""

    enabled: bool | None = None
    mode: str | None = None
    ttl: float | None = None
    max_bytes: int | None = None
    max_body: int | None = None
    methods: tuple[str, ...] | None = None
    key_headers: str | tuple[str, ...] | None = None
    ignore_headers: tuple[str, ...] | None = None
    store_anyway: tuple[str, ...] | None = None
    keep_stale: float | None = None


# The one that is left out of the state file: msgspec compares a default by identity.
UNCHANGED: Final = CacheChange()


class PoolOverlay(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """What differs from the file in one pool. A target's name stands in one of the three collections at most."""

    algorithm: str | None = None
    cache: CacheChange = UNCHANGED
    added: dict[str, TargetConfig] = {}
    removed: tuple[str, ...] = ()
    changed: dict[str, TargetChange] = {}


class Overlay(Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """What differs from the file, pool by pool; a pool where nothing differs does not appear."""

    pools: dict[str, PoolOverlay] = {}


def edit(file: Config, overlay: Overlay, edit: Edit) -> Overlay:
    """The overlay after one more edit.

    The edit's own values are checked here. How they go together with everything else is for `check_whole` to say.

    Raises:
        UnknownNameError: there is no such pool or target in the configuration that runs.
        ConflictError: a target of that name exists already.
        ConfigError: a value is not valid; each problem names its place in the configuration.
    """
    base = file.pools.get(edit.pool)
    if base is None:
        raise UnknownNameError("pool", edit.pool)
    over = overlay.pools.get(edit.pool, PoolOverlay())
    merged = _merged_pool(base, over)
    match edit:
        case AddTarget(target=target):
            over = _added(over, merged, edit.pool, target)
        case ChangeTarget():
            over = _changed(over, merged, edit)
        case RemoveTarget(target=name):
            _find(merged, name)
            over = _removed(over, base, name)
        case SetAlgorithm(algorithm=algorithm):
            over = replace(over, algorithm=_valid(AlgorithmName, algorithm, ("pools", edit.pool, "algorithm")))
        case SetCache(changes=changes):
            over = _cached(over, merged, edit.pool, changes)
    return trimmed(file, replace(overlay, pools={**overlay.pools, edit.pool: over}))


def merge(file: Config, overlay: Overlay) -> Config:
    """The file with the overlay over it.

    A target that was added takes the place of one of the same name in the file, or the end of the pool.
    """
    pools = {
        name: _merged_pool(pool, overlay.pools[name]) if name in overlay.pools else pool
        for name, pool in file.pools.items()
    }
    return replace(file, pools=pools)


def trimmed(file: Config, overlay: Overlay) -> Overlay:
    """The overlay without what the file says as well."""
    pools = {name: _trimmed_pool(file.pools.get(name), over) for name, over in overlay.pools.items()}
    return Overlay({name: over for name, over in pools.items() if over != PoolOverlay()})


def check_whole(config: Config) -> None:
    """Make sure that all parts of a merged configuration go together.

    Raises:
        ConfigError: they do not; with every problem and its place.
    """
    found: list[Problem] = []
    check(config, lambda place, message: found.append(Problem(dotted(place), message)))
    if found:
        raise ConfigError(found)


def check_values(config: Config) -> None:
    """Make sure that each value is one that a file may have. For an overlay that comes from outside of this process.

    Raises:
        ConfigError: one is not; with every problem and its place.
    """
    found: list[Problem] = []
    for name, pool in config.pools.items():
        decode_as(
            PoolConfig,
            plain(pool),
            ("pools", name),
            lambda place, message: found.append(Problem(dotted(place), message)),
        )
    if found:
        raise ConfigError(found)


def differences(file: Config, running: Config) -> list[tuple[str, Any, Any]]:
    """Where two configurations differ: dotted place, the file's value, the running one; None where there is none.

    Values are in the file's own terms. A target stands under its name, whole when the other side has none of the name.
    """
    return [
        (dotted(place), *values) for place, *values in _differences(_by_name(plain(file)), _by_name(plain(running)))
    ]


# One pool


def _merged_pool(base: PoolConfig, over: PoolOverlay) -> PoolConfig:
    targets = [
        over.added.get(target.name) or _merged_target(target, over.changed.get(target.name))
        for target in base.targets
        if target.name not in over.removed
    ]
    known = {target.name for target in targets}
    targets += [target for name, target in over.added.items() if name not in known]
    cache = replace(base.cache, **_values(over.cache))
    return replace(base, algorithm=over.algorithm or base.algorithm, cache=cache, targets=tuple(targets))


def _merged_target(target: TargetConfig, change: TargetChange | None) -> TargetConfig:
    return target if change is None else replace(target, **_values(change))


def _trimmed_pool(base: PoolConfig | None, over: PoolOverlay) -> PoolOverlay:
    if base is None:
        return over
    said = {target.name: target for target in base.targets}
    changed = {name: _trimmed_change(said.get(name), change) for name, change in over.changed.items()}
    return PoolOverlay(
        algorithm=None if over.algorithm == base.algorithm else over.algorithm,
        cache=CacheChange(**others) if (others := _others(base.cache, over.cache)) else UNCHANGED,
        added={name: target for name, target in over.added.items() if said.get(name) != target},
        removed=over.removed,
        changed={name: change for name, change in changed.items() if change != TargetChange()},
    )


def _trimmed_change(said: TargetConfig | None, change: TargetChange) -> TargetChange:
    if said is None:
        return change
    return TargetChange(**_others(said, change))


def _others(said: TargetConfig | CacheConfig, change: TargetChange | CacheChange) -> dict[str, Any]:
    """The values of a change that the file has not as well."""
    return {key: value for key, value in _values(change).items() if getattr(said, key) != value}


def _values(change: TargetChange | CacheChange) -> dict[str, Any]:
    return {key: value for key, value in asdict(change).items() if value is not None}


# One edit


def _added(over: PoolOverlay, merged: PoolConfig, pool: str, target: TargetConfig) -> PoolOverlay:
    place: Place = ("pools", pool, "targets", len(merged.targets))
    data = {key: value for key, value in asdict(target).items() if key != "name" or value}
    target = completed_target(_valid(TargetConfig, data, place))
    if any(other.name == target.name for other in merged.targets):
        raise ConflictError(f'pool "{pool}" has a target "{target.name}" already')
    over = _without(over, target.name)
    return replace(over, added={**over.added, target.name: target})


def _changed(over: PoolOverlay, merged: PoolConfig, edit: ChangeTarget) -> PoolOverlay:
    index, target = _find(merged, edit.target)
    values = edit.values()
    place: Place = ("pools", edit.pool, "targets", index)
    fresh = _valid(TargetConfig, {**asdict(target), **values}, place)
    if edit.target in over.added:
        return replace(over, added={**over.added, edit.target: fresh})
    change = replace(over.changed.get(edit.target, TargetChange()), **values)
    return replace(over, changed={**over.changed, edit.target: change})


def _removed(over: PoolOverlay, base: PoolConfig, name: str) -> PoolOverlay:
    over = _without(over, name)
    # A target that only an earlier edit had added leaves no trace: the file may get one of that name later.
    in_file = any(target.name == name for target in base.targets)
    return replace(over, removed=(*over.removed, name)) if in_file else over


def _cached(over: PoolOverlay, merged: PoolConfig, pool: str, changes: Mapping[str, Any]) -> PoolOverlay:
    fresh = _valid(CacheConfig, {**cast("dict[str, Any]", plain(merged.cache)), **changes}, ("pools", pool, "cache"))
    values = {key: getattr(fresh, key) for key in changes}
    return replace(over, cache=replace(over.cache, **values))


def _find(pool: PoolConfig, name: str) -> tuple[int, TargetConfig]:
    for index, target in enumerate(pool.targets):
        if target.name == name:
            return index, target
    raise UnknownNameError("target", name)


def _without(over: PoolOverlay, name: str) -> PoolOverlay:
    """Nothing said of a target any more."""
    return replace(
        over,
        added={other: target for other, target in over.added.items() if other != name},
        removed=tuple(other for other in over.removed if other != name),
        changed={other: change for other, change in over.changed.items() if other != name},
    )


def _valid(kind: Any, data: object, place: Place) -> Any:
    """The value as the schema wants it."""
    found: list[Problem] = []
    value = decode_as(kind, data, place, lambda where, message: found.append(Problem(dotted(where), message)))
    if found:
        raise ConfigError(found)
    return value


# Differences


def _by_name(config: Any) -> dict[str, Any]:
    """A configuration in the file's terms, with each pool's targets by their names."""
    pools = {
        name: {**pool, "targets": {target["name"]: target for target in pool["targets"]}}
        for name, pool in config["pools"].items()
    }
    return {**config, "pools": pools}


def _differences(
    file: Mapping[str, Any], running: Mapping[str, Any], place: Place = ()
) -> Iterator[tuple[Place, Any, Any]]:
    for key in (*file, *(key for key in running if key not in file)):
        said, runs = file.get(key, _MISSING), running.get(key, _MISSING)
        if isinstance(said, dict) and isinstance(runs, dict):
            yield from _differences(said, runs, (*place, key))
        elif said != runs:
            yield (*place, key), None if said is _MISSING else said, None if runs is _MISSING else runs
