"""Calls of every shape, by every implementation, with all that travels beside their messages."""

import json
from collections.abc import Iterator
from queue import SimpleQueue
from typing import Any

import grpc
import h2.events
import pytest

from tests.scenarios.conftest import DEFAULT
from tests.scenarios.grpc.conftest import Before
from tests.scenarios.support.balancer import Balancer
from tests.scenarios.support.grpc_peers import CLIENTS, FOUR_ANSWERS, GrpcStage, GrpcTarget, SyncClient
from tests.scenarios.support.raw_http2 import RawClient, RawConnection, RawTarget
from tests.scenarios.support.stage import Stage

MIB = 1024 * 1024


def failure(call: Any) -> Any:
    """What a call failed with; it has code, details and metadata."""
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return caught.value


@pytest.fixture(scope="module", params=["aio", "sync", "grpclib"])
def implementation(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Balancer]:
    """A balancer before a target of each implementation, for all clients."""
    folder = tmp_path_factory.mktemp("implementation")
    with GrpcTarget(folder, request.param) as target, Balancer(folder, DEFAULT.text([target.url])) as balancer:
        yield balancer


@pytest.mark.parametrize("client", ["sync", "aio", "grpclib"])
def test_calls_of_all_four_shapes(implementation: Balancer, client: str) -> None:
    assert CLIENTS[client](implementation.port) == FOUR_ANSWERS
    implementation.wait_idle()


def test_the_log_has_a_line_for_each_call(grpc_stage: GrpcStage, before: Before) -> None:
    balancer = before([grpc_stage.target()])
    CLIENTS["sync"](balancer.port)
    lines = balancer.access_log(4)
    assert [line["path"] for line in lines] == [
        f"/probe.Probe/{name}" for name in ("Unary", "Collect", "Spread", "Echo")
    ]
    assert {(line["status"], line["grpc_status"], line["protocol"]) for line in lines} == {(200, 0, "HTTP/2")}


def test_metadata_travels_both_ways(client: SyncClient) -> None:
    sent = (("plain", "value"), ("twice", "1"), ("twice", "2"), ("blob-bin", bytes(range(256))))
    answer, call = client.method("Metadata").with_call(b"\xfe\x00tail", metadata=sent, timeout=20)
    seen = [tuple(pair) for pair in json.loads(answer)]
    assert [pair for pair in seen if pair[0] in {"plain", "twice"}] == [
        ("plain", "value"),
        ("twice", "1"),
        ("twice", "2"),
    ]
    assert ("blob-bin", bytes(range(256)).hex()) in seen
    assert ("head", "first") in call.initial_metadata()
    assert ("head-bin", b"\x00\xff\x01") in call.initial_metadata()
    assert ("tail", "last") in call.trailing_metadata()
    assert ("tail-bin", b"\xfe\x00tail") in call.trailing_metadata()


def test_the_target_learns_who_called(client: SyncClient) -> None:
    seen = dict(json.loads(client.one("Metadata", b"")))
    assert seen["x-forwarded-for"] == "127.0.0.1"
    assert seen["x-forwarded-proto"] == "http"
    assert seen["x-request-id"]


@pytest.mark.parametrize("details", ["", "quota of 5% used", "größer als erlaubt\n"])
def test_a_status_without_an_answer(grpc_stage: GrpcStage, before: Before, details: str) -> None:
    balancer = before([grpc_stage.target()])
    client = grpc_stage.client(balancer)
    error = failure(lambda: client.one("Fail", f"8:{details}".encode()))
    assert (error.code(), error.details()) == (grpc.StatusCode.RESOURCE_EXHAUSTED, details)
    assert ("why-bin", b"\x01\x02") in error.trailing_metadata()
    assert balancer.access_log()[0]["grpc_status"] == 8
    balancer.wait_idle()


def test_a_status_behind_messages(grpc_stage: GrpcStage, before: Before) -> None:
    balancer = before([grpc_stage.target()])
    client = grpc_stage.client(balancer)
    answers = []
    with pytest.raises(grpc.RpcError) as caught:
        answers += client.channel.unary_stream("/probe.Probe/FailLate")(b"10:lost the race", timeout=20)
    error: Any = caught.value
    assert (error.code(), error.details()) == (grpc.StatusCode.ABORTED, "lost the race")
    assert balancer.access_log()[0]["grpc_status"] == 10
    balancer.wait_idle()


def test_messages_before_a_failure_arrive(client: SyncClient) -> None:
    stream = client.channel.unary_stream("/probe.Probe/FailLate")(b"10:", timeout=20)
    assert [next(stream), next(stream)] == [b"one", b"two"]
    failure(lambda: next(stream))


def test_an_unknown_method_is_the_target_s_to_refuse(client: SyncClient) -> None:
    assert failure(lambda: client.one("Nothing", b"")).code() is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 5 * MIB])
def test_a_message_of_any_size(client: SyncClient, size: int) -> None:
    message = (bytes(range(256)) * (size // 256 + 1))[:size]
    assert client.one("Unary", message) == message


def test_large_messages_both_ways_at_once(client: SyncClient) -> None:
    messages = [bytes([number]) * MIB for number in range(10)]
    assert client.echo("Echo", messages) == messages


def test_many_small_messages_in_one_call(client: SyncClient) -> None:
    assert client.spread("Spread", b"2000") == [b"%d" % number for number in range(2000)]


def test_messages_stay_compressed(grpc_stage: GrpcStage, before: Before) -> None:
    balancer = before([grpc_stage.target()])
    client = grpc_stage.client(balancer, compression=grpc.Compression.Gzip)
    assert client.one("Unary", bytes(MIB)) == bytes(MIB)
    assert 0 < balancer.access_log()[0]["bytes_in"] < MIB // 50


def test_what_says_how_messages_are_compressed_stays_too(stage: Stage, before: Before) -> None:
    squeezed = b"\1\0\0\0\3xyz"

    def script(connection: RawConnection, event: Any) -> None:
        if isinstance(event, h2.events.StreamEnded):
            stream = int(event.stream_id)
            kind = ("content-type", "application/grpc+proto")
            connection.h2.send_headers(stream, [(":status", "200"), kind, ("grpc-encoding", "snappy")])
            connection.h2.send_data(stream, squeezed)
            connection.h2.send_headers(stream, [("grpc-status", "0")], end_stream=True)

    target = RawTarget(stage, script)
    said = [("content-type", "application/grpc+proto"), ("te", "trailers"), ("grpc-encoding", "gzip")]
    with RawClient(before([target]).port) as client:
        stream = client.request("/probe.Probe/Unary", [*said, ("grpc-accept-encoding", "snappy,gzip")], squeezed)
        fields = client.fields(stream)
        data = client.wait_for(h2.events.DataReceived, stream).data
    assert (fields["content-type"], fields["grpc-encoding"], data) == ("application/grpc+proto", "snappy", squeezed)
    head = target.heads[0]
    assert (head["grpc-encoding"], head["grpc-accept-encoding"], head["te"]) == ("gzip", "snappy,gzip", "trailers")


def test_each_message_passes_when_it_comes(client: SyncClient) -> None:
    """A conversation, in which each side waits for the other: nothing may be held back."""
    words: SimpleQueue[bytes | None] = SimpleQueue()
    answers = client.channel.stream_stream("/probe.Probe/Echo")(iter(words.get, None), timeout=20)
    for number in range(20):
        words.put(b"%d" % number)
        assert next(answers) == b"%d" % number
    words.put(None)
    assert list(answers) == []


def test_the_deadline_is_passed_on(client: SyncClient) -> None:
    left = json.loads(client.one("Left", b"", timeout=300))
    # grpcio rounds up to whole seconds when there are so many.
    assert 200 < left <= 302


def test_a_call_without_a_deadline_gets_none(client: SyncClient) -> None:
    # grpcio says the largest number it has for "none".
    assert json.loads(client.method("Left")(b"")) is None or json.loads(client.method("Left")(b"")) > 1e9
