"""Probes by grpc.health.v1, over HTTP/2 in clear text."""

import re
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.scenarios.grpc.conftest import Before
from tests.scenarios.support.balancer import Setting
from tests.scenarios.support.grpc_peers import GrpcStage, unless_unavailable
from tests.scenarios.support.polling import eventually

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
    client = grpc_stage.client(balancer)
    assert eventually(lambda: unless_unavailable(lambda: client.one("Unary", b"back"))) == b"back"


def test_the_balancer_answers_for_its_pools_when_asked_to(grpc_stage: GrpcStage, before: Before) -> None:
    target = grpc_stage.target()
    balancer = before([target], Setting(top="grpc_health = true", pool=f"[pools.default.health]\n{QUICK}"))
    with grpc.insecure_channel(f"127.0.0.1:{balancer.port}") as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        serving = health_pb2.HealthCheckResponse.SERVING
        assert stub.Check(health_pb2.HealthCheckRequest(service="default"), timeout=20).status == serving
        watch = stub.Watch(health_pb2.HealthCheckRequest(), timeout=60)
        assert next(watch).status == serving
        target.kill()
        balancer.wait_for("target down", target=target.name)
        assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING
        watch.cancel()
