"""However a call ends, the other side learns of it, and what it held at its target is given back."""

import struct
from collections.abc import Callable
from typing import Any

import grpc
import h2.errors
import h2.events
import pytest

from tests.scenarios.grpc.conftest import Before
from tests.scenarios.support.balancer import Balancer, Setting
from tests.scenarios.support.grpc_peers import GrpcStage, GrpcTarget
from tests.scenarios.support.polling import eventually
from tests.scenarios.support.raw_http2 import RawClient, RawConnection, RawTarget
from tests.scenarios.support.stage import Stage

CALL = [("content-type", "application/grpc"), ("te", "trailers")]
MESSAGE = b"\0\0\0\0\2hi"


def wait_held(balancer: Balancer, count: int) -> None:
    """So many are held: the test sees something that can be given back."""
    eventually(balancer.in_flight, lambda seen: seen == count)


def wait_begun(target: GrpcTarget, count: int) -> None:
    """So many run at the target: what it never heard of, it cannot count as cancelled."""
    eventually(target.stats, lambda stats: stats["in_flight"] == count)


def assert_cancelled(balancer: Balancer, target: GrpcTarget, count: int = 1) -> None:
    """The target was told of the end, and nothing is held."""
    eventually(target.stats, lambda stats: stats["ended"] == count and stats["in_flight"] == 0)
    assert target.stats()["cancelled"] == count
    balancer.wait_idle()


def on_request(act: Callable[[RawConnection, int], None]) -> Callable[[RawConnection, Any], None]:
    """A script that acts when a request has come to its end."""

    def script(connection: RawConnection, event: Any) -> None:
        if isinstance(event, h2.events.StreamEnded):
            act(connection, int(event.stream_id))

    return script


def reset_with(code: h2.errors.ErrorCodes) -> Callable[[RawConnection, int], None]:
    return lambda connection, stream: connection.h2.reset_stream(stream, code)


def answers(connection: RawConnection, stream: int) -> None:
    connection.h2.send_headers(stream, [(":status", "200"), ("content-type", "application/grpc")])
    connection.h2.send_data(stream, MESSAGE)
    connection.h2.send_headers(stream, [("grpc-status", "0")], end_stream=True)


def begins_and_resets(connection: RawConnection, stream: int) -> None:
    connection.h2.send_headers(stream, [(":status", "200"), ("content-type", "application/grpc")])
    connection.h2.send_data(stream, MESSAGE)
    connection.h2.reset_stream(stream, h2.errors.ErrorCodes.INTERNAL_ERROR)


# -- the client ends it ------------------------------------------------------------------------------------------------


def test_a_cancelled_call_is_cancelled_at_the_target(grpc_stage: GrpcStage, before: Before) -> None:
    target = grpc_stage.target()
    balancer = before([target])
    client = grpc_stage.client(balancer)
    call = client.method("Wait").future(b"")
    wait_held(balancer, 1)
    wait_begun(target, 1)
    call.cancel()
    assert_cancelled(balancer, target)
    assert client.one("Unary", b"the connection lives") == b"the connection lives"


def test_a_cancelled_call_is_nobody_s_failure(grpc_stage: GrpcStage, before: Before) -> None:
    target = grpc_stage.target()
    balancer = before([target])
    client = grpc_stage.client(balancer)
    for _ in range(10):
        call = client.method("Wait").future(b"")
        wait_held(balancer, 1)
        call.cancel()
        balancer.wait_idle()
    assert balancer.find("target down") == []
    assert {line["status"] for line in balancer.access_log(10)} == {499}


def test_a_stream_cancelled_in_the_middle(grpc_stage: GrpcStage, before: Before) -> None:
    target = grpc_stage.target()
    balancer = before([target])
    client = grpc_stage.client(balancer)
    stream = client.channel.stream_stream("/probe.Probe/Hang")(iter([b"one", b"two"]))
    assert [next(stream), next(stream)] == [b"one", b"two"]
    stream.cancel()
    assert_cancelled(balancer, target)


def test_a_call_that_is_half_closed_is_held_until_its_end(grpc_stage: GrpcStage, before: Before) -> None:
    """The client has said all; the target has not."""
    target = grpc_stage.target()
    balancer = before([target])
    with RawClient(balancer.port) as client:
        stream = client.request("/probe.Probe/Hang", CALL, MESSAGE)
        client.wait_for(h2.events.DataReceived, stream)
        wait_held(balancer, 1)
        client.h2.reset_stream(stream, h2.errors.ErrorCodes.CANCEL)
        client.flush()
        assert_cancelled(balancer, target)


@pytest.mark.parametrize("leave", ["close", "reset", "goaway"])
def test_a_client_that_leaves_ends_all_its_calls(grpc_stage: GrpcStage, before: Before, leave: str) -> None:
    target = grpc_stage.target()
    balancer = before([target])
    with RawClient(balancer.port) as client:
        for _ in range(10):
            client.request("/probe.Probe/Wait", CALL, MESSAGE)
        wait_held(balancer, 10)
        wait_begun(target, 10)
        if leave == "goaway":
            client.h2.close_connection()
            client.flush()
        elif leave == "reset":
            client.sock.setsockopt(1, 13, struct.pack("ii", 1, 0))  # SO_LINGER
    assert_cancelled(balancer, target, 10)


# -- the deadline ------------------------------------------------------------------------------------------------------


def test_a_deadline_ends_the_call_everywhere(grpc_stage: GrpcStage, before: Before) -> None:
    target = grpc_stage.target()
    balancer = before([target])
    client = grpc_stage.client(balancer)
    with pytest.raises(grpc.RpcError) as caught:
        client.one("Wait", b"", timeout=0.3)
    error: Any = caught.value
    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    balancer.wait_idle()
    # On a slow machine the time may be over before the target has heard of the call.
    stats = eventually(target.stats, lambda stats: stats["in_flight"] == 0)
    assert stats["cancelled"] == stats["calls"]


def silent(_connection: RawConnection, _event: Any) -> None:
    """Never answers."""


def test_the_balancer_keeps_the_deadline_when_nobody_else_does(stage: Stage, before: Before) -> None:
    target = RawTarget(stage, silent)
    balancer = before([target])
    with RawClient(balancer.port) as client:
        stream = client.request("/probe.Probe/Unary", [*CALL, ("grpc-timeout", "300m")], MESSAGE)
        fields = client.fields(stream)
    assert (fields[":status"], fields["grpc-status"]) == ("200", "4")
    eventually(lambda: target.resets, bool)
    assert target.resets == [int(h2.errors.ErrorCodes.CANCEL)]
    balancer.wait_idle()
    assert balancer.access_log()[0]["grpc_status"] == 4
    assert balancer.find("target down") == []


def test_a_deadline_that_is_none_is_the_target_s_to_judge(stage: Stage, before: Before) -> None:
    target = RawTarget(stage, on_request(answers))
    balancer = before([target])
    with RawClient(balancer.port) as client:
        fields = client.fields(client.request("/probe.Probe/Unary", [*CALL, ("grpc-timeout", "soon")], MESSAGE))
    assert fields["grpc-status"] == "0"
    assert target.heads[0]["grpc-timeout"] == "soon"


# -- the target ends it ------------------------------------------------------------------------------------------------


def test_a_reset_before_an_answer_is_unavailable(stage: Stage, before: Before) -> None:
    balancer = before([RawTarget(stage, on_request(reset_with(h2.errors.ErrorCodes.INTERNAL_ERROR)))])
    with RawClient(balancer.port) as client:
        fields = client.fields(client.request("/probe.Probe/Unary", CALL, MESSAGE))
    assert (fields[":status"], fields["content-type"], fields["grpc-status"]) == ("200", "application/grpc", "14")
    assert fields["grpc-message"]
    balancer.wait_idle()


def test_a_reset_in_the_middle_is_no_good_end(stage: Stage, before: Before) -> None:
    balancer = before([RawTarget(stage, on_request(begins_and_resets))])
    with RawClient(balancer.port) as client:
        fields = client.fields(client.request("/probe.Probe/Unary", CALL, MESSAGE))
    assert (fields[":status"], fields["grpc-status"]) == ("200", "14")
    balancer.wait_idle()
    assert balancer.access_log()[0]["grpc_status"] == 14


def test_a_refused_stream_is_tried_at_another_target(stage: Stage, before: Before) -> None:
    refuses = RawTarget(stage, on_request(reset_with(h2.errors.ErrorCodes.REFUSED_STREAM)))
    takes = RawTarget(stage, on_request(answers))
    balancer = before([refuses, takes])
    with RawClient(balancer.port) as client:
        for _ in range(4):
            assert client.fields(client.request("/probe.Probe/Unary", CALL, MESSAGE))["grpc-status"] == "0"
    assert len(takes.heads) == 4
    assert refuses.heads
    balancer.wait_idle()


def unavailable(connection: RawConnection, stream: int) -> None:
    fields = [(":status", "200"), ("content-type", "application/grpc"), ("grpc-status", "14")]
    connection.h2.send_headers(stream, fields, end_stream=True)


def test_unavailable_and_nothing_else_is_tried_at_another_target(stage: Stage, before: Before) -> None:
    refuses, takes = RawTarget(stage, on_request(unavailable)), RawTarget(stage, on_request(answers))
    balancer = before([refuses, takes], Setting(pool="health.passive.enabled = false\nretry.budget = 1.0"))
    with RawClient(balancer.port) as client:
        for _ in range(4):
            assert client.fields(client.request("/probe.Probe/Unary", CALL, MESSAGE))["grpc-status"] == "0"
    assert len(takes.heads) == 4
    assert refuses.heads
    balancer.wait_idle()


def test_a_target_that_goes_away_finishes_what_it_took(stage: Stage, before: Before) -> None:
    """GOAWAY with the first stream as its last: that one is answered, the second one is tried elsewhere."""
    begun: list[int] = []

    def script(connection: RawConnection, event: Any) -> None:
        if isinstance(event, h2.events.StreamEnded):
            begun.append(int(event.stream_id))
            if len(begun) == 2:
                # By hand, since `h2` lets nothing be said behind a GOAWAY of its own.
                last = min(begun).to_bytes(4, "big")
                connection.flush()
                connection.writer.write(b"\0\0\x08\x07\0\0\0\0\0" + last + bytes(4))
                answers(connection, min(begun))
            elif len(begun) > 2:
                answers(connection, int(event.stream_id))

    goes = RawTarget(stage, script)
    takes = RawTarget(stage, on_request(answers))
    balancer = before([goes, takes], Setting(pool='algorithm = "round_robin"'))
    with RawClient(balancer.port) as client:
        first = [client.request("/probe.Probe/First", CALL, MESSAGE) for _ in range(2)]
        eventually(lambda: len(goes.heads), lambda count: count == 1)
        second = [client.request("/probe.Probe/Second", CALL, MESSAGE) for _ in range(2)]
        for stream in first + second:
            assert client.fields(stream)["grpc-status"] == "0"
    assert sorted(line["attempts"] for line in balancer.access_log(4)) == [1, 1, 1, 2]
    balancer.wait_idle()


def test_a_killed_target_ends_its_calls_and_no_other(grpc_stage: GrpcStage, before: Before) -> None:
    targets = [grpc_stage.target(), grpc_stage.target()]
    balancer = before(targets)
    client = grpc_stage.client(balancer)
    calls = [client.method("Wait").future(b"", timeout=20) for _ in range(10)]
    for target in targets:
        wait_begun(target, 5)
    killed, other = targets
    killed.kill()
    eventually(lambda: sum(call.done() for call in calls), lambda count: count == 5)
    lost = [call for call in calls if call.done()]
    assert {call.code() for call in lost} == {grpc.StatusCode.UNAVAILABLE}
    other.open_gate()
    assert [call.result() for call in calls if call not in lost] == [other.name.encode()] * 5
    assert other.stats()["calls"] == 5, "a call that a target may have begun was sent again"
    balancer.wait_idle()


def test_calls_that_never_began_go_to_the_target_that_is_left(grpc_stage: GrpcStage, before: Before) -> None:
    targets = [grpc_stage.target(), grpc_stage.target()]
    balancer = before(targets)
    client = grpc_stage.client(balancer)
    client.one("Unary", b"")
    targets[0].kill()
    for _ in range(20):
        assert client.one("Unary", b"again") == b"again"
    balancer.wait_idle()


def test_a_target_that_ends_early_is_not_waited_for(stage: Stage, before: Before) -> None:
    """Trailers while the client still has something to say: the call is over (gRPC over HTTP2, Responses)."""

    def script(connection: RawConnection, event: Any) -> None:
        if isinstance(event, h2.events.RequestReceived):
            stream = int(event.stream_id or 0)
            connection.h2.send_headers(
                stream,
                [(":status", "200"), ("content-type", "application/grpc"), ("grpc-status", "7")],
                end_stream=True,
            )

    balancer = before([RawTarget(stage, script)])
    with RawClient(balancer.port) as client:
        stream = client.request("/probe.Probe/Collect", CALL, MESSAGE, end=False)
        assert client.fields(stream)["grpc-status"] == "7"
        balancer.wait_idle()
