import msgspec
import pytest

from equipoise.config.edits import AddTarget, ChangeTarget, Edit, RemoveTarget, SetAlgorithm, SetCache
from equipoise.config.load import parse
from equipoise.config.overlay import (
    CacheChange,
    ConflictError,
    Overlay,
    PoolOverlay,
    TargetChange,
    UnknownNameError,
    check_values,
    check_whole,
    differences,
    edit,
    merge,
    trimmed,
)
from equipoise.config.problems import ConfigError
from equipoise.config.schema import MAX_SLOTS, CacheConfig, Config, TargetConfig

HEAD = 'listen = "127.0.0.1:0"\n'
AB = '[pools.p]\ntargets = [{ url = "http://10.0.0.1:1", name = "a" }, { url = "http://10.0.0.2:1", name = "b" }]\n'
A = '[pools.p]\ntargets = [{ url = "http://10.0.0.1:1", name = "a" }]\n'
FILE = parse(HEAD + AB, {})
ONLY_A = parse(HEAD + A, {})
OTHER_POOL = parse(HEAD + A.replace("pools.p", "pools.q"), {})
C = TargetConfig("http://10.0.0.3:1", "c")


def after(*edits: Edit, file: Config = FILE) -> Overlay:
    overlay = Overlay()
    for each in edits:
        overlay = edit(file, overlay, each)
    return overlay


def names(config: Config) -> list[str]:
    return [target.name for target in config.pools["p"].targets]


def target(config: Config, name: str) -> TargetConfig:
    return next(target for target in config.pools["p"].targets if target.name == name)


def problem(*edits: Edit) -> str:
    with pytest.raises(ConfigError) as caught:
        after(*edits)
    return str(caught.value)


# What edits do


def test_without_edits_the_file_runs() -> None:
    assert merge(FILE, Overlay()) == FILE


def test_an_added_target_stands_at_the_end() -> None:
    assert names(merge(FILE, after(AddTarget("p", C)))) == ["a", "b", "c"]


def test_an_added_target_without_a_name_is_called_by_its_place() -> None:
    assert names(merge(FILE, after(AddTarget("p", TargetConfig("http://10.0.0.3:9")))))[-1] == "10.0.0.3:9"


def test_an_added_target_is_read_as_the_file_would_be() -> None:
    assert target(merge(FILE, after(AddTarget("p", TargetConfig("http://x:1/", "c")))), "c").url == "http://x:1"


def test_a_removed_target_is_gone() -> None:
    assert names(merge(FILE, after(RemoveTarget("p", "a")))) == ["b"]


def test_all_targets_may_be_removed() -> None:
    assert names(merge(FILE, after(RemoveTarget("p", "a"), RemoveTarget("p", "b")))) == []


def test_a_changed_target_keeps_its_other_settings() -> None:
    overlay = after(ChangeTarget("p", "a", weight=3), ChangeTarget("p", "a", state="draining", max_in_flight=5))
    expected = TargetConfig("http://10.0.0.1:1", "a", weight=3, max_in_flight=5, state="draining")
    assert target(merge(FILE, overlay), "a") == expected


def test_an_added_target_can_be_changed() -> None:
    overlay = after(AddTarget("p", C), ChangeTarget("p", "c", weight=7))
    assert overlay.pools["p"] == PoolOverlay(added={"c": TargetConfig("http://10.0.0.3:1", "c", weight=7)})


def test_another_algorithm_replaces_the_files() -> None:
    assert merge(FILE, after(SetAlgorithm("p", "random"))).pools["p"].algorithm == "random"


def test_a_cache_is_changed_in_what_is_given_and_read_as_the_file_would_be() -> None:
    overlay = after(SetCache("p", {"enabled": True, "ttl": "30s"}), SetCache("p", {"key_headers": ["Accept"]}))
    assert merge(FILE, overlay).pools["p"].cache == CacheConfig(enabled=True, ttl=30.0, key_headers=("accept",))
    assert overlay.pools["p"].cache == CacheChange(enabled=True, ttl=30.0, key_headers=("accept",))


def test_a_target_that_was_removed_can_be_added_elsewhere() -> None:
    overlay = after(RemoveTarget("p", "a"), AddTarget("p", TargetConfig("http://10.0.0.9:1", "a")))
    merged = merge(FILE, overlay)
    assert names(merged) == ["a", "b"]
    assert target(merged, "a").url == "http://10.0.0.9:1"


# Normal form


@pytest.mark.parametrize(
    "edits",
    [
        [AddTarget("p", C), RemoveTarget("p", "c")],
        [RemoveTarget("p", "a"), AddTarget("p", FILE.pools["p"].targets[0])],
        [ChangeTarget("p", "a", weight=3), ChangeTarget("p", "a", weight=1)],
        [ChangeTarget("p", "a")],
        [ChangeTarget("p", "a", state="up")],
        [SetAlgorithm("p", "random"), SetAlgorithm("p", "least_in_flight")],
        [SetCache("p", {"enabled": True, "ttl": "5m"}), SetCache("p", {"enabled": False, "ttl": "60s"})],
        [SetCache("p", {"key_headers": "all", "methods": ["GET", "HEAD", "POST", "QUERY"]})],
        [SetCache("p", {})],
    ],
)
def test_what_leads_back_to_the_file_leaves_nothing(edits: list[Edit]) -> None:
    assert after(*edits) == Overlay()


def test_what_was_changed_at_a_target_goes_with_it() -> None:
    overlay = after(ChangeTarget("p", "a", weight=3), RemoveTarget("p", "a"))
    assert overlay.pools["p"] == PoolOverlay(removed=("a",))


def test_what_the_file_comes_to_say_is_the_files_again() -> None:
    overlay = after(SetAlgorithm("p", "random"), ChangeTarget("p", "a", weight=3, state="draining"))
    file = parse(HEAD + AB.replace('name = "a"', 'name = "a", weight = 3') + 'algorithm = "random"', {})
    assert trimmed(file, overlay) == Overlay({"p": PoolOverlay(changed={"a": TargetChange(state="draining")})})


def test_what_the_file_comes_to_say_of_a_cache_is_the_files_again() -> None:
    overlay = after(SetCache("p", {"enabled": True, "ttl": "5m"}))
    file = parse(f"{HEAD}{AB}[pools.p.cache]\nttl = '5m'", {})
    assert trimmed(file, overlay) == Overlay({"p": PoolOverlay(cache=CacheChange(enabled=True))})


def test_an_overlay_survives_the_way_over_json() -> None:
    overlay = after(
        AddTarget("p", C),
        RemoveTarget("p", "b"),
        ChangeTarget("p", "a", weight=2),
        SetAlgorithm("p", "random"),
        SetCache("p", {"enabled": True, "key_headers": ["a"], "max_bytes": "1MiB", "keep_stale": "0s"}),
    )
    assert msgspec.json.decode(msgspec.json.encode(overlay), type=Overlay) == overlay


# A file that changed meanwhile


def test_changes_of_a_target_that_the_file_lost_wait_for_its_return() -> None:
    overlay = after(ChangeTarget("p", "b", weight=3))
    assert merge(ONLY_A, overlay) == ONLY_A
    assert trimmed(ONLY_A, overlay) == overlay
    assert target(merge(FILE, trimmed(ONLY_A, overlay)), "b").weight == 3


def test_the_removal_of_a_target_that_the_file_lost_waits_for_its_return() -> None:
    overlay = after(RemoveTarget("p", "b"))
    assert names(merge(FILE, trimmed(ONLY_A, overlay))) == ["a"]


def test_changes_of_a_pool_that_the_file_lost_wait_for_its_return() -> None:
    overlay = after(AddTarget("p", C))
    assert merge(OTHER_POOL, overlay) == OTHER_POOL
    assert names(merge(FILE, trimmed(OTHER_POOL, overlay))) == ["a", "b", "c"]


def test_an_added_target_stands_in_the_place_of_one_that_the_file_gained() -> None:
    overlay = after(AddTarget("p", TargetConfig("http://10.0.0.9:1", "b")), file=ONLY_A)
    merged = merge(FILE, overlay)
    assert [(each.name, each.url) for each in merged.pools["p"].targets][1] == ("b", "http://10.0.0.9:1")


def test_a_target_added_and_removed_leaves_one_of_its_name_in_the_file_alone() -> None:
    assert merge(FILE, after(AddTarget("p", C), RemoveTarget("p", "c"))) == FILE


def test_an_edit_leaves_the_file_as_it_is() -> None:
    before = parse(HEAD + AB, {})
    merge(FILE, after(AddTarget("p", C), ChangeTarget("p", "a", weight=3)))
    assert before == FILE


# What is refused


@pytest.mark.parametrize(
    ("wanted", "kind", "name"),
    [
        (AddTarget("nope", C), "pool", "nope"),
        (SetAlgorithm("nope", "random"), "pool", "nope"),
        (ChangeTarget("p", "nope", weight=1), "target", "nope"),
        (RemoveTarget("p", "nope"), "target", "nope"),
    ],
)
def test_an_unknown_name_is_told(wanted: Edit, kind: str, name: str) -> None:
    with pytest.raises(UnknownNameError) as caught:
        after(wanted)
    assert (caught.value.kind, caught.value.name) == (kind, name)


def test_a_target_that_was_removed_is_unknown() -> None:
    with pytest.raises(UnknownNameError):
        after(RemoveTarget("p", "a"), RemoveTarget("p", "a"))


def test_a_pool_that_only_an_old_overlay_has_is_unknown() -> None:
    with pytest.raises(UnknownNameError):
        edit(OTHER_POOL, after(AddTarget("p", C)), RemoveTarget("p", "c"))


@pytest.mark.parametrize(
    ("edits", "name"),
    [
        ([AddTarget("p", TargetConfig("http://10.0.0.3:1", "a"))], "a"),
        ([AddTarget("p", C), AddTarget("p", C)], "c"),
    ],
)
def test_a_name_is_given_once(edits: list[Edit], name: str) -> None:
    with pytest.raises(ConflictError, match=f'has a target "{name}" already'):
        after(*edits)


@pytest.mark.parametrize(
    ("wanted", "place"),
    [
        (AddTarget("p", TargetConfig("ftp://a")), "pools.p.targets[2].url"),
        (AddTarget("p", TargetConfig("http://a:1", "a b")), "pools.p.targets[2].name"),
        (AddTarget("p", TargetConfig("http://a:1", weight=0)), "pools.p.targets[2].weight"),
        (AddTarget("p", TargetConfig("http://a:1", weight=True)), "pools.p.targets[2].weight"),
        (AddTarget("p", TargetConfig("http://a:1", max_in_flight=-1)), "pools.p.targets[2].max_in_flight"),
        (AddTarget("p", TargetConfig("http://a:1", state="left")), "pools.p.targets[2].state"),  # type: ignore[arg-type]
        (ChangeTarget("p", "b", weight=1001), "pools.p.targets[1].weight"),
        (ChangeTarget("p", "b", weight="3"), "pools.p.targets[1].weight"),  # type: ignore[arg-type]
        (ChangeTarget("p", "b", max_in_flight=2_000_000), "pools.p.targets[1].max_in_flight"),
        (ChangeTarget("p", "b", state="UP"), "pools.p.targets[1].state"),
        (SetAlgorithm("p", "best"), "pools.p.algorithm"),
        (SetAlgorithm("p", "python:no_such_module:Class"), "pools.p.algorithm"),
        (SetAlgorithm("p", 3), "pools.p.algorithm"),  # type: ignore[arg-type]
        (SetCache("p", {"ttl": 30}), "pools.p.cache.ttl"),
        (SetCache("p", {"ttl": None}), "pools.p.cache.ttl"),
        (SetCache("p", {"enabled": "yes"}), "pools.p.cache.enabled"),
        (SetCache("p", {"mode": "both"}), "pools.p.cache.mode"),
        (SetCache("p", {"methods": ["GET", "B D"]}), "pools.p.cache.methods[1]"),
        (SetCache("p", {"tll": "30s"}), "pools.p.cache.tll"),
    ],
)
def test_a_value_that_the_file_may_not_have_is_refused_with_its_place(wanted: Edit, place: str) -> None:
    assert problem(wanted).startswith(f"{place}: ")


@pytest.mark.parametrize("scheme", ["http", "https", "h2c"])
def test_an_edit_may_add_a_target_of_each_scheme(scheme: str) -> None:
    overlay = after(AddTarget("p", TargetConfig(f"{scheme}://a:1", "c")))
    check_whole(merge(FILE, overlay))


def test_more_targets_than_there_are_slots_are_refused() -> None:
    many = {f"t{index}": TargetConfig("http://10.0.0.1:1", f"t{index}") for index in range(MAX_SLOTS)}
    with pytest.raises(ConfigError, match=f"must be at most {MAX_SLOTS} together"):
        check_whole(merge(FILE, Overlay({"p": PoolOverlay(added=many)})))


@pytest.mark.parametrize(
    ("overlay", "place"),
    [
        (PoolOverlay(algorithm="best"), "pools.p.algorithm"),
        (PoolOverlay(cache=CacheChange(mode="both")), "pools.p.cache.mode"),
        (PoolOverlay(cache=CacheChange(ttl=0.0)), "pools.p.cache.ttl"),
        (PoolOverlay(cache=CacheChange(key_headers="some")), "pools.p.cache.key_headers"),
        (PoolOverlay(added={"c": TargetConfig("nonsense", "c")}), "pools.p.targets[2].url"),
        (PoolOverlay(changed={"a": TargetChange(state="gone")}), "pools.p.targets[0].state"),
    ],
)
def test_an_overlay_from_outside_is_checked_value_by_value(overlay: PoolOverlay, place: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_values(merge(FILE, Overlay({"p": overlay})))
    assert [each.path for each in caught.value.problems] == [place]


def test_a_good_overlay_from_outside_passes() -> None:
    check_values(merge(FILE, after(AddTarget("p", C), SetAlgorithm("p", "random"))))


def test_settings_of_a_cache_that_contradict_each_other_are_found_in_the_whole() -> None:
    with pytest.raises(ConfigError, match=r"pools\.p\.cache\.max_body"):
        check_whole(merge(FILE, after(SetCache("p", {"max_bytes": "1MiB"}))))


# Differences


def test_a_configuration_does_not_differ_from_itself() -> None:
    assert differences(FILE, FILE) == []


def test_each_difference_has_its_place_and_both_values() -> None:
    running = merge(FILE, after(SetAlgorithm("p", "random"), ChangeTarget("p", "a", weight=3)))
    assert differences(FILE, running) == [
        ("pools.p.targets.a.weight", 1, 3),
        ("pools.p.algorithm", "least_in_flight", "random"),
    ]


def test_a_cache_differs_setting_by_setting() -> None:
    running = merge(FILE, after(SetCache("p", {"enabled": True, "ttl": "90s"})))
    assert differences(FILE, running) == [
        ("pools.p.cache.enabled", False, True),
        ("pools.p.cache.ttl", "1m", "90s"),
    ]


def test_a_target_on_one_side_only_differs_as_a_whole() -> None:
    found = differences(FILE, merge(FILE, after(AddTarget("p", C), RemoveTarget("p", "a"))))
    table = {"max_in_flight": 0, "weight": 1, "state": "up"}
    assert found == [
        ("pools.p.targets.a", {"url": "http://10.0.0.1:1", "name": "a", **table}, None),
        ("pools.p.targets.c", None, {"url": "http://10.0.0.3:1", "name": "c", **table}),
    ]


def test_values_are_shown_as_the_file_has_them() -> None:
    running = parse(f"{HEAD}{AB}[limits]\nidle_timeout = '5s'", {})
    assert differences(FILE, running) == [("limits.idle_timeout", "75s", "5s")]
