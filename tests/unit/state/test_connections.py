"""What has a deadline, and what waits to be used again."""

from collections.abc import Iterator

import pytest

from equipoise.proxy.services import Services
from equipoise.proxy.upstream_http1 import UpstreamHttp1
from equipoise.state.connections import MAX_IDLE, NO_DEADLINE, Deadlines, IdleConnections, Reusable, Stack, Timed
from equipoise.state.snapshot import Snapshot
from tests.support.ledgers import ledgers, no_report, world
from tests.support.transport import Clock, ScriptedLoop, Transport

# Deadlines. The objects are bare: what has no `expire` of its own fails loudly when it is due.


def test_what_is_removed_leaves_the_others_watched() -> None:
    deadlines = Deadlines()
    timed = [Timed() for _ in range(5)]
    for each in timed:
        deadlines.add(each)
    for each in (timed[1], timed[4], timed[0]):
        deadlines.remove(each)
    assert set(deadlines.all) == {timed[2], timed[3]}
    assert [deadlines.all[int(each.place)] for each in (timed[2], timed[3])] == [timed[2], timed[3]]


def test_removing_what_is_not_watched_does_nothing() -> None:
    deadlines = Deadlines()
    one, other = Timed(), Timed()
    deadlines.add(one)
    deadlines.remove(other)
    deadlines.remove(one)
    deadlines.remove(one)
    assert deadlines.all == []


def test_without_a_deadline_nothing_is_ever_due() -> None:
    deadlines = Deadlines()
    deadlines.add(Timed())
    deadlines.tick(NO_DEADLINE - 1)


@pytest.mark.parametrize(("deadline", "due"), [(999, True), (1_000, True), (1_001, False)])
def test_what_is_due_expires(deadline: int, due: bool) -> None:
    deadlines = Deadlines()
    timed = Timed()
    timed.deadline = deadline
    deadlines.add(timed)
    if due:
        with pytest.raises(AssertionError, match="expire is missing"):
            deadlines.tick(1_000)
    else:
        deadlines.tick(1_000)


class Rig:
    """Idle connections of the real kind, which is the one that can be told apart from outside."""

    def __init__(self) -> None:
        self.loop = ScriptedLoop(Clock())
        self.services = Services(ledgers(1)[1][0], lambda: 1, no_report)
        self.services.snapshot = Snapshot(world(), {})
        self.idle = self.services.idle

    def connection(self, slot: int) -> UpstreamHttp1:
        upstream = UpstreamHttp1(self.services, slot)
        upstream.connection_made(Transport(self.loop, upstream, ("10.0.0.1", 80)))
        return upstream


@pytest.fixture
def rig() -> Iterator[Rig]:
    made = Rig()
    yield made
    made.loop.settle()
    made.loop.close()


class LastStraw(Transport):
    """A transport whose closing takes another connection along, at once."""

    other: UpstreamHttp1 | None = None

    def close(self) -> None:
        super().close()
        if self.other is not None:
            self.other.connection_lost(None)


def test_what_expires_may_end_another_that_is_due_in_the_same_walk(rig: Rig) -> None:
    one, other, third = (rig.connection(1) for _ in range(3))
    straw = LastStraw(rig.loop, one, ("10.0.0.1", 80))
    straw.other = other
    one.transport = straw
    for upstream in (one, other, third):
        upstream.deadline = 5
        upstream.idle = True
        assert rig.idle.put(upstream)
    rig.services.deadlines.tick(5)
    assert [upstream.transport.closing for upstream in (one, other, third)] == [True, False, True]
    assert set(rig.services.deadlines.all) == {one, third}


def test_what_was_removed_does_not_expire(rig: Rig) -> None:
    upstreams = [rig.connection(1) for _ in range(4)]
    for upstream in upstreams:
        upstream.deadline = 5
        upstream.idle = True
        assert rig.idle.put(upstream)
    for upstream in (upstreams[3], upstreams[1]):
        rig.services.deadlines.remove(upstream)
    rig.services.deadlines.tick(5)
    assert [upstream.transport.closing for upstream in upstreams] == [True, False, True, False]


def test_the_last_one_put_is_the_first_one_taken(rig: Rig) -> None:
    one, other = rig.connection(1), rig.connection(1)
    assert rig.idle.put(one)
    assert rig.idle.put(other)
    assert [rig.idle.take(1), rig.idle.take(1), rig.idle.take(1)] == [other, one, None]


def test_targets_do_not_share_connections(rig: Rig) -> None:
    one = rig.connection(1)
    assert rig.idle.put(one)
    assert rig.idle.take(2) is None
    assert rig.idle.take(1) is one


def test_only_so_many_are_kept(rig: Rig) -> None:
    assert [rig.idle.put(rig.connection(1)) for _ in range(MAX_IDLE + 1)] == [True] * MAX_IDLE + [False]


def test_what_is_forgotten_is_not_taken(rig: Rig) -> None:
    connections = [rig.connection(1) for _ in range(3)]
    for each in connections:
        assert rig.idle.put(each)
    rig.idle.forget(connections[1])
    rig.idle.forget(connections[1])
    assert [rig.idle.take(1), rig.idle.take(1), rig.idle.take(1)] == [connections[2], connections[0], None]


def test_closing_a_slot_closes_what_is_idle_there_and_nothing_else(rig: Rig) -> None:
    here, there = rig.connection(1), rig.connection(2)
    assert rig.idle.put(here)
    assert rig.idle.put(there)
    rig.idle.close_slot(1)
    rig.idle.close_slot(1)
    assert (here.transport.closing, there.transport.closing) == (True, False)
    assert rig.idle.take(1) is None


def test_a_connection_that_was_busy_when_its_slot_was_closed_does_not_come_back(rig: Rig) -> None:
    old = rig.connection(1)
    rig.idle.close_slot(1)
    new = rig.connection(1)
    assert not rig.idle.put(old)
    assert rig.idle.put(new)
    assert rig.idle.take(1) is new


def test_a_reusable_that_cannot_close_fails_loudly() -> None:
    idle = IdleConnections()
    assert idle.put(Reusable(idle.stack(1)))
    with pytest.raises(AssertionError, match="close is missing"):
        idle.close_slot(1)
    with pytest.raises(AssertionError, match="is_open is missing"):
        Reusable(Stack()).is_open()
