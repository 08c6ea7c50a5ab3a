"""Many requests on one connection: each stream lives and ends by itself, on both sides of the balancer."""

import asyncio
import signal
from collections.abc import Callable
from contextlib import suppress

import pytest
from h2.errors import ErrorCodes

from tests.scenarios.conftest import Balance
from tests.scenarios.support.balancer import Setting
from tests.scenarios.support.client import Client, get
from tests.scenarios.support.http2_client import (
    CANCEL,
    GOAWAY,
    INTERNAL_ERROR,
    MAX_CONCURRENT_STREAMS,
    NO_ERROR,
    REFUSED_STREAM,
    BrokenError,
    Http2Client,
    head,
)
from tests.scenarios.support.http2_target import Http2Call, Http2Script, Http2Target, answers, echoes, hangs
from tests.scenarios.support.polling import eventually, stays
from tests.scenarios.support.stage import Call, Gate, Stage, answer, says

MakeTarget = Callable[..., Http2Target]
# A GOAWAY with this number refuses nothing yet (RFC 9113 6.8).
ALL = 0x7FFF_FFFF


def after(gate: Gate, *waiting: str) -> Http2Script:
    """Answers 200 with the path; requests for one of these paths (for any, when none is named) wait first."""

    async def script(call: Http2Call) -> None:
        await call.body()
        if not waiting or call.request.target in waiting:
            await gate.passed()
        await call.head(200)
        await call.write(call.request.target.encode())
        await call.end()

    return script


def test_a_hundred_requests_are_in_flight_on_one_connection(
    stage: Stage, balance: Balance, h2_target: MakeTarget
) -> None:
    gate = stage.gate()
    targets = [h2_target(after(gate)) for _ in range(2)]
    balancer = balance(targets)
    client = Http2Client(balancer.port)
    streams = {client.request(head("GET", f"/{number}")): number for number in range(100)}
    eventually(lambda: gate.reached, lambda count: count == 100)
    assert balancer.in_flight() == 100
    assert [target.in_flight for target in targets] == [50, 50]
    gate.open()
    for stream, number in streams.items():
        assert client.answer(stream).body == f"/{number}".encode()
    balancer.wait_idle()


def test_answers_come_in_the_order_in_which_they_are_ready(
    stage: Stage, balance: Balance, h2_target: MakeTarget
) -> None:
    gate = stage.gate()
    balancer = balance([h2_target(after(gate, "/slow"))])
    client = Http2Client(balancer.port)
    slow, quick = client.request(head("GET", "/slow")), client.request(head("GET", "/quick"))
    assert client.answer(quick).body == b"/quick"
    assert not client.streams[slow].done
    gate.open()
    assert client.answer(slow).body == b"/slow"


def test_many_requests_share_few_connections_to_a_target(stage: Stage, balance: Balance, h2_target: MakeTarget) -> None:
    gate = stage.gate()
    target = h2_target(after(gate), max_streams=100)
    balancer = balance([target])
    client = Http2Client(balancer.port)
    streams = [client.request(head()) for _ in range(60)]
    eventually(lambda: gate.reached, lambda count: count == 60)
    gate.open()
    for stream in streams:
        client.answer(stream)
    # The first ones may each have begun a connection before it was known that the target speaks HTTP/2.
    assert target.connections <= 4
    for _ in range(50):
        client.ask(head())
    assert target.connections <= 4


def test_more_streams_than_a_target_takes_are_never_opened_on_a_connection(
    stage: Stage, balance: Balance, h2_target: MakeTarget
) -> None:
    """The target's own library fails the test when one is opened too many."""
    gate = stage.gate()
    target = h2_target(after(gate), max_streams=3)
    balancer = balance([target])
    client = Http2Client(balancer.port)
    streams = [client.request(head("GET", f"/{number}")) for number in range(10)]
    eventually(lambda: gate.reached >= 3)
    gate.open()
    assert sorted(client.answer(stream).body for stream in streams) == sorted(b"/%d" % n for n in range(10))
    assert max(connection.most_streams for connection in target.made) <= 3
    balancer.wait_idle()


def test_a_target_may_take_fewer_streams_while_it_runs(stage: Stage, balance: Balance, h2_target: MakeTarget) -> None:
    gate = stage.gate()
    target = h2_target(answers, max_streams=100)
    balancer = balance([target])
    client = Http2Client(balancer.port)
    assert client.ask(head()).body == b"ok"
    stage.run(target.made[0].change({MAX_CONCURRENT_STREAMS: 2}))
    # It has taken the change when an answer came that was sent behind it.
    assert client.ask(head()).body == b"ok"
    target.made[0].most_streams = 0
    target.http2_script = after(gate)
    streams = [client.request(head()) for _ in range(8)]
    eventually(lambda: gate.reached >= 2)
    gate.open()
    for stream in streams:
        assert client.answer(stream).status == 200
    assert target.made[0].most_streams <= 2


def test_a_client_s_reset_ends_its_stream_at_the_target_and_no_other(
    stage: Stage, balance: Balance, h2_target: MakeTarget
) -> None:
    gate = stage.gate()
    target = h2_target(after(gate))
    balancer = balance([target])
    client = Http2Client(balancer.port)
    gone, stays_on = client.request(head("GET", "/gone")), client.request(head("GET", "/stays"))
    eventually(lambda: gate.reached, lambda count: count == 2)
    client.reset(gone)
    eventually(lambda: target.resets == [("/gone", CANCEL)])
    eventually(balancer.in_flight, lambda count: count == 1)
    gate.open()
    assert client.answer(stays_on).body == b"/stays"
    assert client.ask(head("GET", "/next")).body == b"/next"
    assert not client.found(GOAWAY)
    balancer.wait_idle()
    assert [line["status"] for line in balancer.access_log(3) if line["path"] == "/gone"] == [499]


def test_a_client_s_reset_closes_the_connection_to_a_target_of_http_1(stage: Stage, balance: Balance) -> None:
    seen: list[str] = []

    async def script(call: Call) -> None:
        if call.request.target == "/gone":
            await call.gone()
            seen.append("closed")
        else:
            await says(answer())(call)

    balancer = balance([stage.target(script)])
    client = Http2Client(balancer.port)
    gone = client.request(head("GET", "/gone"))
    assert client.ask(head("GET", "/other")).body == b"ok"
    client.reset(gone)
    eventually(lambda: seen == ["closed"])
    assert client.ask(head("GET", "/other")).body == b"ok"
    balancer.wait_idle()


def test_a_reset_in_the_middle_of_an_upload_ends_that_stream_only(balance: Balance, h2_target: MakeTarget) -> None:
    target = h2_target(echoes)
    balancer = balance([target])
    client = Http2Client(balancer.port)
    gone = client.request(head("POST", "/gone"), end=False)
    client.write(gone, b"x" * 1000)
    eventually(lambda: target.paths == ["/gone"])
    client.reset(gone)
    eventually(lambda: target.resets == [("/gone", CANCEL)])
    assert client.ask(head("POST", "/next"), b"hello").body == b"hello"
    balancer.wait_idle()


def test_a_target_s_reset_before_the_answer_is_502_and_ends_no_other_stream(
    stage: Stage, balance: Balance, h2_target: MakeTarget
) -> None:
    gate = stage.gate()

    async def script(call: Http2Call) -> None:
        if call.request.target == "/reset":
            await call.reset()
        else:
            await after(gate)(call)

    target = h2_target(script)
    balancer = balance([target], Setting(pool="[pools.default.health.passive]\nenabled = false"))
    client = Http2Client(balancer.port)
    other = client.request(head("GET", "/other"))
    eventually(lambda: gate.reached)
    message = client.ask(head("POST", "/reset"), b"never sent again")
    assert (message.status, message.get("content-type")) == (502, "application/problem+json")
    assert target.paths.count("/reset") == 1
    gate.open()
    assert client.answer(other).body == b"/other"
    assert len(target.made) == 1
    balancer.wait_idle()


def test_a_target_s_reset_within_the_answer_reaches_the_client_as_one(
    stage: Stage, balance: Balance, h2_target: MakeTarget
) -> None:
    gate = stage.gate()

    async def script(call: Http2Call) -> None:
        await call.head(200)
        await call.write(b"begun")
        await gate.passed()
        if call.request.target == "/reset":
            await call.reset()
        else:
            await call.end()

    balancer = balance([h2_target(script)])
    client = Http2Client(balancer.port)
    broken, whole = client.request(head("GET", "/reset")), client.request(head("GET", "/whole"))
    assert client.receive(broken, 5) == client.receive(whole, 5) == b"begun"
    gate.open()
    assert client.wait_reset(broken) in {INTERNAL_ERROR, CANCEL}
    assert client.answer(whole).status == 200
    balancer.wait_idle()


def test_a_refused_stream_is_tried_at_another_target_even_if_it_is_a_post(
    balance: Balance, h2_target: MakeTarget
) -> None:
    """RFC 9113 8.7: nothing of it was looked at."""

    async def refuses(call: Http2Call) -> None:
        await call.reset(ErrorCodes.REFUSED_STREAM)

    balancer = balance([h2_target(refuses), h2_target(echoes)])
    client = Http2Client(balancer.port)
    for _ in range(4):
        assert client.ask(head("POST"), b"hello").body == b"hello"
    balancer.wait_idle()


@pytest.mark.parametrize("size", [30_000, 300_000], ids=["within the buffer", "larger than the buffer"])
def test_a_stream_that_is_refused_late_is_sent_again_whole_or_not_at_all(
    balance: Balance, h2_target: MakeTarget, size: int
) -> None:
    """Whatever of the body was let go must be there to be sent again."""

    async def refuses_late(call: Http2Call) -> None:
        taken = 0
        while taken < size * 2 // 3:
            taken += len(await call.read())
        await call.reset(ErrorCodes.REFUSED_STREAM)

    second = h2_target(echoes)
    balancer = balance([h2_target(refuses_late), second])
    client = Http2Client(balancer.port)
    body = bytes(range(250)) * (size // 250)
    for _ in range(4):
        stream = client.request(head("POST", "/", f"content-length: {size}"), end=False)
        with suppress(BrokenError):
            client.write(stream, body, end=True)
        client.wait(lambda: client.streams[stream].done, "an answer")  # noqa: B023  (called at once)
        message = client.streams[stream].answer
        assert message is not None
        assert message.status == 200 or size > 64 * 1024
        assert client.streams[stream].body == body or message.status == 502
    assert {request.body for request in second.requests} <= {body}
    balancer.wait_idle()


def test_a_goaway_of_the_target_lets_streams_finish_and_new_ones_go_elsewhere(
    stage: Stage, balance: Balance, h2_target: MakeTarget
) -> None:
    gate = stage.gate()
    target = h2_target(after(gate, "/before"))
    balancer = balance([target])
    client = Http2Client(balancer.port)
    before = client.request(head("GET", "/before"))
    eventually(lambda: gate.reached)
    stage.run(target.made[0].leave(target.calls[0].stream))
    message = client.ask(head("GET", "/after"))
    assert (message.status, message.body) == (200, b"/after")
    assert len(target.made) == 2
    gate.open()
    assert client.answer(before).body == b"/before"
    balancer.wait_idle()


def test_streams_that_a_goaway_leaves_out_are_sent_again(balance: Balance, h2_target: MakeTarget) -> None:
    """RFC 9113 6.8: the target has not acted on them, so even a POST may go to a new connection."""
    seen: list[str] = []

    async def script(call: Http2Call) -> None:
        body = await call.body()
        seen.append(call.request.target)
        if len(call.connection.target.calls) == 1:
            await call.connection.leave(0)
            await call.gone()
        await call.head(200)
        await call.write(body)
        await call.end()

    target = h2_target(script)
    balancer = balance([target])
    client = Http2Client(balancer.port)
    assert client.ask(head("POST", "/once"), b"hello").body == b"hello"
    assert seen == ["/once", "/once"]
    balancer.wait_idle()


def test_an_idle_connection_to_a_target_that_says_goaway_costs_no_request(
    stage: Stage, balance: Balance, h2_target: MakeTarget
) -> None:
    target = h2_target(answers)
    balancer = balance([target])
    client = Http2Client(balancer.port)
    for _ in range(5):
        assert client.ask(head("POST"), b"x").body == b"ok"
        stage.run(target.made[-1].leave(ALL))
    assert client.ask(head("POST"), b"x").body == b"ok"


def test_a_target_that_is_killed_in_the_middle_costs_only_what_it_had(
    stage: Stage, balance: Balance, h2_target: MakeTarget
) -> None:
    gate = stage.gate()
    dies, lives = h2_target(after(gate)), h2_target(after(gate))
    balancer = balance([dies, lives])
    client = Http2Client(balancer.port)
    streams = [client.request(head("POST", f"/{number}"), end=False) for number in range(10)]
    for stream in streams:
        client.write(stream, b"x", end=True)
    eventually(lambda: gate.reached, lambda count: count == 10)
    dies.stop()
    gate.open()
    statuses = sorted(client.answer(stream).status for stream in streams)
    assert statuses == [200] * 5 + [502] * 5
    balancer.wait_idle()


def test_a_get_that_a_killed_target_had_is_answered_by_another(
    stage: Stage, balance: Balance, h2_target: MakeTarget
) -> None:
    gate = stage.gate()
    dies, lives = h2_target(hangs), h2_target(after(gate))
    balancer = balance([dies, lives], Setting(pool="[pools.default.retry]\nbudget = 1.0"))
    gate.open()
    client = Http2Client(balancer.port)
    streams = [client.request(head("GET", f"/{number}")) for number in range(6)]
    eventually(lambda: dies.in_flight >= 1)
    dies.stop()
    assert [client.answer(stream).status for stream in streams] == [200] * 6
    balancer.wait_idle()


def test_a_drain_says_goaway_and_lets_streams_finish(stage: Stage, balance: Balance, h2_target: MakeTarget) -> None:
    gate = stage.gate()
    balancer = balance([h2_target(after(gate))])
    client = Http2Client(balancer.port)
    open_one = client.request(head("GET", "/open"))
    eventually(lambda: gate.reached)
    balancer.signal(signal.SIGTERM)
    client.wait(lambda: client.found(GOAWAY), "a GOAWAY")
    assert client.found(GOAWAY)[0].code == NO_ERROR
    assert not client.closed
    gate.open()
    assert client.answer(open_one).body == b"/open"
    assert client.wait_goaway().code == NO_ERROR
    assert balancer.wait_exit() == 0


def test_a_stream_behind_the_goaway_of_a_drain_is_served_or_refused_but_never_lost(
    stage: Stage, balance: Balance, h2_target: MakeTarget
) -> None:
    """A client that sent before it read the GOAWAY may send it again elsewhere only if it is told so."""
    gate = stage.gate()
    target = h2_target(after(gate, "/open"))
    balancer = balance([target])
    client = Http2Client(balancer.port)
    open_one = client.request(head("GET", "/open"))
    eventually(lambda: gate.reached)
    balancer.signal(signal.SIGTERM)
    client.wait(lambda: client.found(GOAWAY), "a GOAWAY")
    late = client.request(head("GET", "/late"))
    client.wait(lambda: client.streams[late].done, "what becomes of the late stream")
    if client.streams[late].reset is None:
        assert client.answer(late).body == b"/late"
    else:
        assert client.streams[late].reset == REFUSED_STREAM
    gate.open()
    assert client.answer(open_one).body == b"/open"
    assert balancer.wait_exit() == 0


def test_a_stream_is_cut_at_the_end_of_the_drain(balance: Balance, h2_target: MakeTarget) -> None:
    balancer = balance([h2_target(hangs)], Setting(more='[limits]\ndrain_timeout = "300ms"'))
    client = Http2Client(balancer.port)
    stream = client.request(head())
    eventually(balancer.in_flight, lambda count: count == 1)
    balancer.signal(signal.SIGTERM)
    with pytest.raises((BrokenError, ConnectionError)):
        client.answer(stream)
    assert balancer.wait_exit() == 0


def test_a_reload_leaves_streams_alone(stage: Stage, balance: Balance, h2_target: MakeTarget) -> None:
    gate = stage.gate()
    before, later = h2_target(after(gate)), h2_target(echoes)
    balancer = balance([before])
    client = Http2Client(balancer.port)
    stream = client.request(head("GET", "/before"))
    eventually(lambda: gate.reached)
    assert balancer.reload(Setting().text([later.url]))["event"] == "reloaded"
    assert client.ask(head("POST"), b"hello").body == b"hello"
    gate.open()
    assert client.answer(stream).body == b"/before"
    assert not client.found(GOAWAY)
    balancer.wait_idle()


def test_an_idle_connection_is_closed_with_a_goaway(balance: Balance, h2_target: MakeTarget) -> None:
    balancer = balance([h2_target(answers)], Setting(more='[limits]\nidle_timeout = "300ms"'))
    client = Http2Client(balancer.port)
    assert client.ask(head()).status == 200
    assert client.wait_goaway().code == NO_ERROR


def test_a_client_that_says_goaway_has_its_streams_finished(
    stage: Stage, balance: Balance, h2_target: MakeTarget
) -> None:
    gate = stage.gate()
    balancer = balance([h2_target(after(gate))])
    client = Http2Client(balancer.port)
    stream = client.request(head("GET", "/open"))
    eventually(lambda: gate.reached)
    client.send_frame(GOAWAY, 0, bytes(8))
    gate.open()
    assert client.answer(stream).body == b"/open"
    client.wait_goaway()
    balancer.wait_idle()


def test_streams_over_the_limit_are_refused_and_the_others_go_on(
    stage: Stage, balance: Balance, h2_target: MakeTarget
) -> None:
    gate = stage.gate()
    target = h2_target(after(gate))
    balancer = balance([target], Setting(more="[limits]\nstreams = 10"))
    client = Http2Client(balancer.port)
    client.wait(lambda: MAX_CONCURRENT_STREAMS in client.peer, "the settings")
    assert client.peer[MAX_CONCURRENT_STREAMS] == 10
    streams = [client.request(head("GET", f"/{number}")) for number in range(12)]
    assert [client.wait_reset(stream) for stream in streams[10:]] == [REFUSED_STREAM] * 2
    eventually(lambda: gate.reached, lambda count: count == 10)
    gate.open()
    assert {client.answer(stream).status for stream in streams[:10]} == {200}
    assert target.most_in_flight == 10
    balancer.wait_idle()


def test_a_target_that_does_not_answer_is_504_on_its_stream_only(balance: Balance, h2_target: MakeTarget) -> None:
    async def script(call: Http2Call) -> None:
        await (hangs if call.request.target == "/hangs" else answers)(call)

    target = h2_target(script)
    limits = '[limits]\nresponse_timeout = "400ms"\n[pools.default.retry]\nattempts = 1'
    balancer = balance([target], Setting(more=limits))
    client = Http2Client(balancer.port)
    late = client.request(head("POST", "/hangs"))
    assert client.ask(head("GET", "/other")).body == b"ok"
    assert client.answer(late).status == 504
    eventually(lambda: target.resets == [("/hangs", CANCEL)])
    assert len(target.made) == 1
    balancer.wait_idle()


def test_a_flood_of_streams_finds_its_way_over_both_workers(
    balance: Balance, h2_target: MakeTarget, scale: int
) -> None:
    targets = [h2_target(echoes) for _ in range(3)]
    balancer = balance(targets, Setting(workers=2))
    clients = [Http2Client(balancer.port) for _ in range(6)]
    for round_number in range(3 * scale):
        streams = {client: client.request(head("POST"), end=False) for client in clients}
        for client, stream in streams.items():
            client.write(stream, f"{round_number}".encode(), end=True)
        for client, stream in streams.items():
            assert client.answer(stream).body == f"{round_number}".encode()
    balancer.wait_idle()
    counts = [len(target.requests) for target in targets]
    assert sum(counts) == 18 * scale
    assert max(counts) - min(counts) <= 6


@pytest.mark.parametrize("path", ["/h1-a", "/h1-b"])
def test_http_1_and_http_2_clients_share_the_connections_to_a_target(
    stage: Stage, balance: Balance, h2_target: MakeTarget, path: str
) -> None:
    gate = stage.gate()
    target = h2_target(after(gate))
    balancer = balance([target])
    http1 = [Client(balancer.port).send(get(f"{path}/{number}")) for number in range(5)]
    http2 = Http2Client(balancer.port)
    streams = [http2.request(head("GET", f"{path}/{number}")) for number in range(5, 10)]
    eventually(lambda: gate.reached, lambda count: count == 10)
    gate.open()
    bodies = [client.answer().body for client in http1] + [http2.answer(stream).body for stream in streams]
    assert bodies == [f"{path}/{number}".encode() for number in range(10)]


def test_nothing_more_is_sent_on_a_stream_that_the_client_reset(balance: Balance, h2_target: MakeTarget) -> None:
    async def chatters(call: Http2Call) -> None:
        await call.head(200)
        while True:
            await call.write(b"x" * 100)
            await asyncio.sleep(0.001)

    target = h2_target(chatters)
    balancer = balance([target])
    client = Http2Client(balancer.port)
    stream = client.request(head())
    client.receive(stream, 500)
    client.reset(stream)
    client.ping()
    size = client.streams[stream].size
    client.ping()

    def silent() -> bool:
        client.look()
        return client.streams[stream].size == size

    stays(silent)
    balancer.wait_idle()
