"""Probes by grpc.health.v1, over HTTP/2 in clear text."""

import re

import pytest

from tests.scenarios.grpc.conftest import Before
from tests.scenarios.support.balancer import Setting
from tests.scenarios.support.grpc_peers import GrpcStage

QUICK = 'interval = "50ms"\ndown_interval = "50ms"\nunhealthy_after = 1\ntimeout = "10s"\npassive.enabled = false'
OVERALL = Setting(pool=f'[pools.default.health]\ntype = "grpc"\n{QUICK}')
NAMED = Setting(pool=f'[pools.default.health]\ntype = "grpc"\nservice = "probe.Probe"\n{QUICK}')


def test_a_target_that_says_not_serving_gets_no_calls_until_it_serves_again(
    grpc_stage: GrpcStage, before: Before
) -> None:
    leaving, staying = grpc_stage.target(), grpc_stage.target()
    balancer = before([leaving, staying], OVERALL)
    client = grpc_stage.client(balancer)
    leaving.say_health("", serving=False)
    down = balancer.wait_for("target down", target=leaving.name)
    assert "says NOT_SERVING" in down["reason"]
    calls = leaving.stats()["calls"]
    for _ in range(10):
        client.one("Unary", b"")
    assert leaving.stats()["calls"] == calls
    leaving.say_health("", serving=True)
    balancer.wait_for("target up", target=leaving.name)
    for _ in range(10):
        client.one("Unary", b"")
    assert leaving.stats()["calls"] > calls


def test_one_service_is_asked_about(grpc_stage: GrpcStage, before: Before) -> None:
    target = grpc_stage.target()
    target.say_health("probe.Probe", serving=True)
    balancer = before([target], NAMED)
    target.say_health("", serving=False)
    assert grpc_stage.client(balancer).one("Unary", b"well") == b"well"
    target.say_health("probe.Probe", serving=False)
    balancer.wait_for("target down", target=target.name)


@pytest.mark.parametrize(
    ("kind", "setting", "reason"),
    [
        pytest.param("sync", OVERALL, "has no grpc.health.v1.Health service", id="no health service"),
        pytest.param("aio", NAMED, 'knows no service "probe.Probe"', id="unknown service"),
    ],
)
def test_what_is_wrong_is_said(grpc_stage: GrpcStage, before: Before, kind: str, setting: Setting, reason: str) -> None:
    target = grpc_stage.target(kind)
    balancer = before([target], setting)
    assert re.search(re.escape(reason), balancer.wait_for("target down", target=target.name)["reason"])


def test_a_killed_target_is_down_and_comes_back(grpc_stage: GrpcStage, before: Before) -> None:
    target = grpc_stage.target()
    balancer = before([target], OVERALL)
    target.kill()
    balancer.wait_for("target down", target=target.name)
    target.start()
    balancer.wait_for("target up", target=target.name)
    assert grpc_stage.client(balancer).one("Unary", b"back") == b"back"
