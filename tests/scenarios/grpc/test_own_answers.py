"""What the balancer itself says to a gRPC client: a status, and never a page."""

from typing import Any

import h2.events
import pytest

from tests.scenarios.grpc.conftest import Before
from tests.scenarios.support.balancer import Setting
from tests.scenarios.support.client import fetch, post
from tests.scenarios.support.grpc_peers import GrpcStage
from tests.scenarios.support.polling import eventually
from tests.scenarios.support.raw_http2 import RawClient, RawConnection, RawTarget
from tests.scenarios.support.stage import Stage

CALL = [("content-type", "application/grpc"), ("te", "trailers")]
MESSAGE = b"\0\0\0\0\2hi"


def silent(_connection: RawConnection, _event: Any) -> None:
    """Never answers."""


def asked(port: int, path: str = "/probe.Probe/Unary", body: bytes = MESSAGE) -> dict[str, str]:
    with RawClient(port) as client:
        stream = client.request(path, CALL, body)
        fields = client.fields(stream)
        assert [event for event in client.events if isinstance(event, h2.events.DataReceived)] == []
    # A status alone ends the stream with the head, and says so to a client as HTTP says success.
    assert (fields[":status"], fields["content-type"]) == ("200", "application/grpc")
    assert fields["grpc-message"]
    return fields


def test_no_target_is_unavailable(grpc_stage: GrpcStage, before: Before) -> None:
    target = grpc_stage.target()
    balancer = before([target])
    target.kill()
    assert asked(balancer.port)["grpc-status"] == "14"
    assert balancer.access_log()[-1]["grpc_status"] == 14


def test_no_route_is_unimplemented(grpc_stage: GrpcStage, before: Before) -> None:
    routes = Setting(more='[[routes]]\npool = "default"\npath = "/other.Service/"')
    balancer = before([grpc_stage.target()], routes)
    assert asked(balancer.port)["grpc-status"] == "12"


def test_a_service_is_routed_by_its_path(grpc_stage: GrpcStage, before: Before) -> None:
    routes = Setting(more='[[routes]]\npool = "default"\npath = "/probe.Probe/"')
    client = grpc_stage.client(before([grpc_stage.target()], routes))
    assert client.one("Unary", b"routed") == b"routed"


def test_a_target_too_slow_is_a_deadline(stage: Stage, before: Before) -> None:
    balancer = before([RawTarget(stage, silent)], Setting(more='[limits]\nresponse_timeout = "200ms"'))
    assert asked(balancer.port)["grpc-status"] == "4"
    balancer.wait_idle()


def test_a_message_too_large_is_over_a_limit(grpc_stage: GrpcStage, before: Before) -> None:
    balancer = before([grpc_stage.target()], Setting(more='[limits]\nrequest_body = "1KiB"'))
    body = b"\0" + (2000).to_bytes(4, "big") + b"x" * 2000
    assert asked(balancer.port, body=body)["grpc-status"] == "8"
    balancer.wait_idle()


def test_a_full_queue_is_over_a_limit(stage: Stage, before: Before) -> None:
    target = RawTarget(stage, silent)
    tables = f'[[pools.default.targets]]\nurl = "{target.url}"\nmax_in_flight = 1\n[pools.default.queue]\nsize = 0'
    balancer = before([target], Setting(pool=tables))
    with RawClient(balancer.port) as client:
        client.request("/probe.Probe/Unary", CALL, MESSAGE)
        eventually(balancer.in_flight, lambda count: count == 1)
        assert asked(balancer.port)["grpc-status"] == "8"


@pytest.mark.parametrize("status", ["404", "503", "200"])
def test_an_answer_that_is_no_grpc_passes_as_it_is(stage: Stage, before: Before, status: str) -> None:
    """A client has to map it itself ("HTTP to gRPC Status Code Mapping"); the balancer invents nothing."""

    def script(connection: RawConnection, event: Any) -> None:
        if isinstance(event, h2.events.StreamEnded):
            stream = int(event.stream_id)
            connection.h2.send_headers(stream, [(":status", status), ("content-type", "text/html")])
            connection.h2.send_data(stream, b"a page", end_stream=True)

    balancer = before([RawTarget(stage, script)], Setting(pool="health.passive.enabled = false"))
    with RawClient(balancer.port) as client:
        fields = client.fields(client.request("/probe.Probe/Unary", CALL, MESSAGE))
    assert (fields[":status"], fields["content-type"]) == (status, "text/html")
    assert "grpc-status" not in fields


def test_who_is_no_grpc_client_gets_a_page(grpc_stage: GrpcStage, before: Before) -> None:
    target = grpc_stage.target()
    balancer = before([target])
    target.kill()
    answer = fetch(balancer.port, post(b""))
    assert (answer.status in {502, 503}, answer.get("content-type")) == (True, "application/problem+json")
