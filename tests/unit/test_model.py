"""The shared values: immutable, equal by content, and whole after a way over the wire."""

from typing import Any

import msgspec
import pytest

from equipoise.model import (
    AccessLogSpec,
    LimitsSpec,
    Outcome,
    PoolSpec,
    RetrySpec,
    RouteSpec,
    TargetSpec,
    TargetState,
    World,
)

TARGET = TargetSpec("a", "http://a:80", "a", 80, 3, ("10.0.0.1",), 2, 8, TargetState.DRAINING)
WORLD = World(
    (PoolSpec("p", 1, "round_robin", (TARGET,), RetrySpec(2, 0, 0.1), (500,), True),),
    (RouteSpec("p", "example.org", "/a"),),
    LimitsSpec(request_head=1),
    AccessLogSpec(sink="text"),
)


@pytest.mark.parametrize(
    "value",
    [
        WORLD,
        WORLD.pools[0],
        TARGET,
        WORLD.pools[0].retry,
        WORLD.routes[0],
        WORLD.limits,
        WORLD.access_log,
    ],
    ids=lambda value: type(value).__name__,
)
def test_no_value_can_be_changed(value: Any) -> None:
    with pytest.raises(AttributeError):
        setattr(value, value.__struct_fields__[0], None)


def test_a_world_is_itself_after_a_way_over_the_wire() -> None:
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(WORLD), type=World) == WORLD


def test_worlds_are_equal_by_content() -> None:
    assert World(limits=LimitsSpec(request_head=1)) == World(limits=LimitsSpec(request_head=1))
    assert World() != WORLD


def test_a_world_can_be_hashed() -> None:
    assert len({WORLD, World(), World()}) == 2


def test_a_target_takes_requests_unless_told_otherwise() -> None:
    assert TargetSpec("a", "http://a:80", "a", 80, 0).state is TargetState.UP


def test_the_limits_are_the_promised_ones() -> None:
    limits = LimitsSpec()
    assert (limits.request_head, limits.header_count, limits.request_target) == (32 * 1024, 100, 8 * 1024)
    assert (limits.head_timeout, limits.body_timeout, limits.idle_timeout) == (10.0, 30.0, 75.0)
    assert (limits.connect_timeout, limits.drain_timeout) == (5.0, 30.0)


def test_secrets_are_hidden_from_the_log_unless_told_otherwise() -> None:
    assert {"authorization", "cookie", "set-cookie", "proxy-authorization"} <= set(AccessLogSpec().redact_headers)


def test_states_and_outcomes_are_their_words() -> None:
    assert [str(state) for state in TargetState] == ["up", "down", "draining"]
    assert Outcome("connect_failed") is Outcome.CONNECT_FAILED
