"""The supervisor's table of targets: slots, states, and what flips."""

import pytest

from equipoise.config.overlay import Overlay, PoolOverlay, TargetChange, merge
from equipoise.config.schema import Config
from equipoise.model import Outcome, TargetState, TargetTlsSpec, TlsFile
from equipoise.runtime.slots import Key, NoSlotError, Slots
from equipoise.runtime.targets import LEAVING, Flip, TargetTable, Unwell
from equipoise.runtime.tls_files import Material
from tests.unit.runtime.parts import config_of

A, B = Key("default", "10.0.0.1:1"), Key("default", "10.0.0.2:1")
TWO = '[pools.default]\ntargets = ["http://10.0.0.1:1", "http://10.0.0.2:1"]'
ONE = '[pools.default]\ntargets = ["http://10.0.0.1:1"]'
NAMED = '[pools.default]\ntargets = ["http://name.example:1"]'
UP, DOWN, DRAINING = TargetState.UP, TargetState.DOWN, TargetState.DRAINING


class Fixture:
    """A table with the little it needs around it."""

    def __init__(self, text: str = TWO, capacity: int = 64) -> None:
        self.good: dict[int, int] = {}
        self.names: dict[str, tuple[str, ...]] = {}
        slots = Slots(capacity, lambda _slot: True, lambda _slot: None)
        self.table = TargetTable(slots, lambda slot: self.good.get(slot, 0), self.resolve)
        self.config = config_of(text)
        self.first = self.table.install(self.config, 0.0)

    def resolve(self, host: str) -> tuple[str, ...]:
        return (host,) if host[0].isdigit() else self.names.get(host, ())

    def install(self, text: str) -> Config:
        self.config = config_of(text)
        self.table.install(self.config, 0.0)
        return self.config

    def order(self, key: Key, state: str) -> list[Flip]:
        self.config = merge(
            self.config, Overlay({key.pool: PoolOverlay(changed={key.target: TargetChange(state=state)})})
        )
        return self.table.install(self.config, 0.0)

    def states(self) -> list[TargetState]:
        return [target.state for pool in self.table.world(self.config).pools for target in pool.targets]

    def slots(self) -> list[int]:
        return [target.slot for pool in self.table.world(self.config).pools for target in pool.targets]

    def fail(self, key: Key, outcome: Outcome = Outcome.RESET, *, times: int = 1, good: int = 0) -> list[Flip]:
        return [flip for _ in range(times) for flip in self.table.failed(key, outcome, good, 0.0)]


def test_new_targets_are_up() -> None:
    assert Fixture().states() == [UP, UP]


def test_a_pool_and_its_targets_lie_side_by_side() -> None:
    fixture = Fixture()
    pool = fixture.table.world(fixture.config).pools[0]
    assert [pool.slot, *fixture.slots()] == [0, 1, 2]


def test_a_flip_is_told_once_with_its_reason() -> None:
    fixture = Fixture()
    flips = fixture.fail(A, Outcome.CONNECT_FAILED, times=3)
    assert flips == [Flip(A, UP, DOWN, "connect failed")]
    assert fixture.states() == [DOWN, UP]


def test_failures_with_good_answers_in_between_are_not_in_a_row() -> None:
    fixture = Fixture()
    assert not [flip for good in range(10) for flip in fixture.fail(A, good=good)]


def test_failures_without_a_good_answer_in_between_are_in_a_row() -> None:
    fixture = Fixture()
    assert fixture.fail(A, times=2, good=7) == []
    assert len(fixture.fail(A, good=7)) == 1


def test_a_report_that_was_overtaken_does_not_break_the_row() -> None:
    fixture = Fixture()
    fixture.fail(A, times=1, good=7)
    fixture.fail(A, times=1, good=6)
    assert len(fixture.fail(A, good=7)) == 1


def test_good_answers_from_before_a_target_was_added_are_no_news() -> None:
    fixture = Fixture(ONE)
    fixture.good[2] = 50  # the slot that the second target will get
    fixture.install(TWO)
    entry = fixture.table.get(*B)
    assert entry is not None
    assert entry.ok_seen == 50


def test_failed_answers_do_not_take_out_the_last_target_that_is_up() -> None:
    fixture = Fixture()
    fixture.fail(A, times=3)
    assert fixture.fail(B, times=50) == []
    assert fixture.states() == [DOWN, UP]


def test_a_spared_target_goes_down_at_the_next_failure_once_another_is_up() -> None:
    fixture = Fixture()
    fixture.fail(A, times=3)
    fixture.fail(B, times=50)
    fixture.table.probed(A, Outcome.PROBE_OK, "", 60.0)
    assert [flip.key for flip in fixture.fail(B)] == [B]


def test_failed_connects_take_out_the_last_target_too() -> None:
    fixture = Fixture(ONE)
    assert len(fixture.fail(A, Outcome.CONNECT_FAILED)) == 1


def test_failed_probes_take_out_the_last_target_too() -> None:
    fixture = Fixture(ONE)
    flips = [flip for _ in range(2) for flip in fixture.table.probed(A, Outcome.PROBE_FAILED, "status 500", 0.0)]
    assert flips == [Flip(A, UP, DOWN, "health probe failed: status 500")]


def test_the_last_target_up_of_another_pool_saves_nobody() -> None:
    fixture = Fixture(
        '[pools.a]\ntargets = ["http://10.0.0.1:1"]\n[pools.b]\ntargets = ["http://10.0.0.2:1"]\n'
        '[[routes]]\npool = "a"\npath = "/a"\n[[routes]]\npool = "b"'
    )
    assert fixture.fail(Key("a", "10.0.0.1:1"), times=5) == []


def test_a_report_of_a_target_that_was_removed_is_ignored() -> None:
    fixture = Fixture()
    fixture.install(ONE)
    assert fixture.fail(B, Outcome.CONNECT_FAILED) == []


def test_a_draining_target_stays_draining_whatever_its_health() -> None:
    fixture = Fixture()
    assert fixture.order(A, "draining") == [Flip(A, UP, DRAINING, "ordered")]
    assert fixture.fail(A, Outcome.CONNECT_FAILED) == []
    assert fixture.table.probed(A, Outcome.PROBE_OK, "", 1.0) == []
    assert fixture.states() == [DRAINING, UP]


def test_a_target_that_is_enabled_again_gets_the_state_of_its_health() -> None:
    fixture = Fixture()
    fixture.order(A, "draining")
    fixture.fail(A, Outcome.CONNECT_FAILED)
    assert fixture.order(A, "up") == [Flip(A, DRAINING, DOWN, "connect failed")]


def test_a_target_that_is_ordered_down_is_down_whatever_its_health() -> None:
    fixture = Fixture()
    assert fixture.order(A, "down") == [Flip(A, UP, DOWN, "ordered")]
    assert fixture.table.probed(A, Outcome.PROBE_OK, "", 1.0) == []
    assert fixture.states() == [DOWN, UP]


def test_health_and_slots_outlive_a_reload() -> None:
    fixture = Fixture()
    before = fixture.slots()
    fixture.fail(A, Outcome.CONNECT_FAILED)
    fixture.install(TWO.replace("[pools.default]", '[pools.default]\nalgorithm = "round_robin"'))
    assert fixture.states() == [DOWN, UP]
    assert fixture.slots() == before


def test_a_target_at_another_place_starts_anew_in_its_slot() -> None:
    table = '[[pools.default.targets]]\nname = "a"\nurl = "http://10.0.0.{}:1"'
    fixture = Fixture(table.format(1))
    before = fixture.slots()
    fixture.fail(Key("default", "a"), Outcome.CONNECT_FAILED)
    fixture.install(table.format(2))
    assert fixture.states() == [UP]
    assert fixture.slots() == before


def test_a_name_that_does_not_resolve_is_a_target_that_is_down() -> None:
    fixture = Fixture(NAMED)
    key = Key("default", "name.example:1")
    assert fixture.first == [Flip(key, UP, DOWN, "name does not resolve")]
    assert fixture.table.resolved("name.example", ("10.0.0.9",)) == [Flip(key, DOWN, UP, "well again")]


def test_new_addresses_of_a_name_reach_the_world() -> None:
    fixture = Fixture(NAMED)
    fixture.table.resolved("name.example", ("10.0.0.8", "10.0.0.9"))
    assert fixture.table.world(fixture.config).pools[0].targets[0].addresses == ("10.0.0.8", "10.0.0.9")


def test_without_probes_a_target_comes_back_when_its_time_is_over() -> None:
    fixture = Fixture(TWO + '\n[pools.default.health]\ntype = "none"')
    fixture.fail(A, Outcome.CONNECT_FAILED)
    assert fixture.table.elapse(0.9) == []
    assert fixture.table.elapse(1.0) == [Flip(A, DOWN, UP, "well again")]


def test_passive_health_can_be_switched_off() -> None:
    fixture = Fixture(TWO + "\n[pools.default.health.passive]\nenabled = false")
    assert fixture.fail(A, Outcome.CONNECT_FAILED, times=50) == []


def test_too_many_targets_are_refused_and_the_old_ones_stay() -> None:
    fixture = Fixture(ONE, capacity=2)
    before = fixture.config
    with pytest.raises(NoSlotError):
        fixture.install(TWO)
    assert [target.name for target in fixture.table.world(before).pools[0].targets] == ["10.0.0.1:1"]


# Removal


def shown(fixture: Fixture) -> list[tuple[str, TargetState, str | None]]:
    return [(entry.key.target, entry.state, entry.reason) for entry in fixture.table.shown()]


def test_a_removed_target_is_shown_and_no_longer_there() -> None:
    fixture = Fixture()
    fixture.install(ONE)
    assert shown(fixture) == [(A.target, UP, None), (B.target, DRAINING, LEAVING)]
    assert [entry.key for entry in fixture.table] == [A]
    assert fixture.table.get(*B) is None
    leaving = fixture.table.leaving(*B)
    assert leaving is not None
    assert leaving.slot == 2


def test_a_removed_target_is_forgotten_when_nothing_is_in_flight_there() -> None:
    fixture = Fixture()
    fixture.install(ONE)
    fixture.table.forget(lambda slot: slot != 2)
    assert fixture.table.leaving(*B) is not None
    fixture.table.forget(lambda _slot: True)
    assert fixture.table.leaving(*B) is None


def test_a_removed_target_can_be_forgotten_at_once() -> None:
    fixture = Fixture()
    fixture.install(ONE)
    fixture.table.forget_now(*B)
    assert shown(fixture) == [(A.target, UP, None)]


def test_a_target_that_is_added_again_while_it_leaves_is_as_it_was() -> None:
    fixture = Fixture()
    fixture.fail(B, Outcome.CONNECT_FAILED)
    before = fixture.slots()
    fixture.install(ONE)
    assert fixture.table.install(config_of(TWO), 0.0) == []
    assert shown(fixture) == [(A.target, UP, None), (B.target, DOWN, "connect failed")]
    fixture.config = config_of(TWO)
    assert fixture.slots() == before


def test_a_target_added_at_another_place_under_the_name_of_one_that_leaves_is_another() -> None:
    table = '[[pools.default.targets]]\nname = "a"\nurl = "http://10.0.0.{}:1"'
    fixture = Fixture(table.format(1))
    fixture.fail(Key("default", "a"), Outcome.CONNECT_FAILED)
    fixture.install("[pools.default]\ntargets = []")
    fixture.install(table.format(2))
    assert shown(fixture) == [("a", UP, None)]


# Ejections


def ejections(fixture: Fixture, key: Key = A) -> int:
    entry = fixture.table.get(*key)
    assert entry is not None
    return entry.ejections


def test_each_time_that_health_takes_a_target_out_is_counted() -> None:
    fixture = Fixture()
    fixture.fail(A, Outcome.CONNECT_FAILED)
    fixture.table.probed(A, Outcome.PROBE_OK, "", 1.0)
    fixture.fail(A, Outcome.CONNECT_FAILED)
    assert ejections(fixture) == 2


def test_an_order_is_no_ejection() -> None:
    fixture = Fixture()
    fixture.order(A, "down")
    assert ejections(fixture) == 0


def test_ejections_outlive_a_reload() -> None:
    fixture = Fixture()
    fixture.fail(A, Outcome.CONNECT_FAILED)
    fixture.install(ONE)
    assert ejections(fixture) == 1


# TLS


@pytest.mark.parametrize(
    ("url", "configured", "name"),
    [
        ("https://name.example", "", "name.example"),
        ("https://name.example.", "", "name.example"),
        ("https://10.0.0.1", "", "10.0.0.1"),
        ("https://10.0.0.1", "inner.example", "inner.example"),
        ("http://name.example", "inner.example", None),
        ("h2c://name.example", "inner.example", None),
    ],
)
def test_a_target_over_tls_has_the_name_that_its_certificate_is_for(
    url: str, configured: str, name: str | None
) -> None:
    fixture = Fixture(f'[pools.default]\ntargets = ["{url}"]')
    material = Material(pools={"default": TargetTlsSpec(server_name=configured, ca="digest")})
    fixture.table.install(fixture.config, 0.0, material)
    [target] = fixture.table.world(fixture.config).pools[0].targets
    assert target.scheme == url.partition(":")[0]
    assert (target.tls and target.tls.server_name, target.tls and target.tls.ca) == (name, name and "digest")


def test_the_world_has_what_was_read_for_it() -> None:
    fixture = Fixture()
    material = Material(files=(TlsFile("digest", b"content"),), listeners=(None,))
    fixture.table.install(fixture.config, 0.0, material)
    world = fixture.table.world(fixture.config)
    assert (world.files, world.listeners) == (material.files, material.listeners)


def test_a_target_of_another_scheme_is_another_target() -> None:
    fixture = Fixture()
    fixture.fail(A, Outcome.CONNECT_FAILED)
    fixture.install(TWO.replace("http://10.0.0.1", "https://10.0.0.1"))
    assert fixture.states() == [UP, UP]


# From one process to the next


def test_what_is_down_is_down_in_the_next_process_too() -> None:
    before = Fixture()
    before.fail(A, Outcome.RESET, times=3)
    before.fail(B, Outcome.CONNECT_FAILED)
    unwell = before.table.unwell(0.25)
    assert [(each.target, each.cause, each.left, each.ejections) for each in unwell] == [
        (A.target, "reset", 0.75, 1),
        (B.target, "connect_failed", 0.0, 0),
    ]
    after = Fixture("[pools.default]\ntargets = []")
    after.table.remember(unwell)
    flips = after.table.install(config_of(TWO), 100.0)
    assert [(flip.key, flip.after, flip.reason) for flip in flips] == [
        (A, DOWN, "answers failed: connection reset"),
        (B, DOWN, "connect failed"),
    ]
    # The ejection goes on where it was, and a good probe is proof as ever.
    assert after.table.probed(A, Outcome.PROBE_OK, "", 100.5) == []
    assert [flip.after for flip in after.table.probed(B, Outcome.PROBE_OK, "", 100.5)] == [UP]
    assert [flip.after for flip in after.table.probed(A, Outcome.PROBE_OK, "", 100.8)] == [UP]


@pytest.mark.parametrize(
    "known",
    [
        Unwell("default", A.target, "http://10.0.0.9:1", "reset"),  # it was somewhere else
        Unwell("default", A.target, "http://10.0.0.1:1", "bad_karma"),  # a newer balancer's word
        Unwell("other", A.target, "http://10.0.0.1:1", "reset"),
    ],
)
def test_what_is_known_of_another_target_is_not_believed_of_this_one(known: Unwell) -> None:
    fixture = Fixture("[pools.default]\ntargets = []")
    fixture.table.remember([known])
    assert fixture.table.install(config_of(ONE), 0.0) == []


def test_what_was_remembered_counts_once() -> None:
    fixture = Fixture("[pools.default]\ntargets = []")
    fixture.table.remember([Unwell("default", A.target, "http://10.0.0.1:1", "connect_failed")])
    fixture.install(ONE)
    fixture.table.probed(A, Outcome.PROBE_OK, "", 1.0)
    fixture.install(TWO)
    assert fixture.table.world(fixture.config).pools[0].targets[0].state is UP
