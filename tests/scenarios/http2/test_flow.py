"""Windows: a side that is slow costs memory neither to the balancer nor time to the other streams."""

from collections.abc import Callable

import pytest

from tests.scenarios.conftest import Balance
from tests.scenarios.support.balancer import Setting
from tests.scenarios.support.client import Client
from tests.scenarios.support.http2_client import INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE, WINDOW, Frame, Http2Client, head
from tests.scenarios.support.http2_target import Http2Call, Http2Target, answers
from tests.scenarios.support.pairs import LENGTH, Turn, TurnScript, target_of
from tests.scenarios.support.polling import eventually, stays
from tests.scenarios.support.stage import Stage

MakeTarget = Callable[..., Http2Target]
MIB = 1024 * 1024
MOST_GROWTH = 16 * MIB
BLOCK = bytes(range(256)) * 1024


def bulk_of(size: int, wrote: list[int]) -> TurnScript:
    """Answers "/bulk" with so many bytes, and tells how many it could write; everything else with `ok`."""

    async def script(turn: Turn) -> None:
        if turn.request.target != "/bulk":
            await turn.answer(b"ok")
            return
        await turn.head(200, ("content-length", str(size)), framing=LENGTH)
        for _ in range(size // len(BLOCK)):
            await turn.write(BLOCK)
            wrote[0] += len(BLOCK)
        await turn.end()

    return script


def read_slowly(client: Http2Client, stream: int, size: int) -> None:
    """Opens the window of a stalled stream mebibyte by mebibyte, until all of it has come."""
    mine = client.streams[stream]
    while mine.size < size:
        want = min(mine.size + MIB, size)
        client.grant(stream, MIB)
        client.wait(lambda: mine.size >= want or mine.done, f"{want} bytes")  # noqa: B023  (called at once)
    # The end may come in a frame of its own, and to go on granting until it does would be a flood.
    client.wait(lambda: mine.done, "the end")
    assert mine.size == size


@pytest.mark.parametrize("up", ["h1", "h2"])
@pytest.mark.parametrize("size", [8 * MIB, pytest.param(500 * MIB, marks=pytest.mark.slow)], ids=["8 MiB", "500 MiB"])
def test_a_slow_reader_costs_no_memory_and_no_other_stream_its_time(
    stage: Stage, balance: Balance, up: str, size: int
) -> None:
    wrote = [0]
    target = target_of(stage, up, bulk_of(size, wrote))
    balancer = balance([target])
    client = Http2Client(balancer.port)
    client.grant(0, 1024 * MIB)
    for _ in range(20):
        client.ask(head("GET", "/small"))
    before = balancer.resident()
    bulk = client.request(head("GET", "/bulk"))
    mine = client.streams[bulk]
    mine.keep = False
    client.stalled |= {0, bulk}
    client.wait(lambda: mine.size == WINDOW, "a full window")
    # It waits for the reader: nothing comes, the target is held up, and everybody else is served.
    for _ in range(20):
        assert client.ask(head("GET", "/small")).body == b"ok"
    stays(lambda: wrote[0] < size)
    assert mine.size == WINDOW
    assert balancer.resident() - before < MOST_GROWTH
    read_slowly(client, bulk, size)
    assert balancer.resident() - before < MOST_GROWTH
    assert wrote[0] == size
    balancer.wait_idle()


@pytest.mark.parametrize("up", ["h1", "h2"])
@pytest.mark.parametrize("size", [8 * MIB, pytest.param(500 * MIB, marks=pytest.mark.slow)], ids=["8 MiB", "500 MiB"])
def test_a_slow_target_costs_no_memory_and_no_other_stream_its_time(
    stage: Stage, balance: Balance, up: str, size: int
) -> None:
    gate = stage.gate()
    taken = [0]

    async def script(turn: Turn) -> None:
        if turn.request.target != "/bulk":
            await turn.answer(b"ok")
            return
        await gate.passed()
        while piece := await turn.read():
            taken[0] += len(piece)
        await turn.answer(b"done")

    balancer = balance([target_of(stage, up, script)])
    client = Http2Client(balancer.port)
    for _ in range(20):
        client.ask(head("GET", "/small"))
    before = balancer.resident()
    bulk = client.request(head("POST", "/bulk", f"content-length: {size}"), end=False)
    mine = client.streams[bulk]
    sent = 0
    eventually(lambda: gate.reached)

    def fill() -> bool:
        """Sends what the windows allow; true once they stay closed."""
        nonlocal sent
        client.look()
        room = min(client.window, mine.window, size - sent)
        client.write(bulk, BLOCK[:room] if room < len(BLOCK) else BLOCK)
        sent += min(room, len(BLOCK))
        return room == 0

    while sent < size and not _stays_full(client, fill):
        pass
    assert sent < size
    for _ in range(20):
        assert client.ask(head("GET", "/small")).body == b"ok"
    assert balancer.resident() - before < MOST_GROWTH
    gate.open()
    while sent < size:
        piece = BLOCK[: min(len(BLOCK), size - sent)]
        client.write(bulk, piece, end=sent + len(piece) == size)
        sent += len(piece)
    assert client.answer(bulk).body == b"done"
    assert taken[0] == size
    assert balancer.resident() - before < MOST_GROWTH
    balancer.wait_idle()


def _stays_full(client: Http2Client, fill: Callable[[], bool]) -> bool:
    """Whether the windows are still closed when the balancer has read all that was sent, twice in a row."""
    if not fill():
        return False
    client.ping()
    client.ping()
    return fill()


def test_the_window_of_the_connection_holds_for_all_streams_together(balance: Balance, h2_target: MakeTarget) -> None:
    async def script(call: Http2Call) -> None:
        await call.head(200)
        await call.write(b"x" * 40_000)
        await call.end()

    balancer = balance([h2_target(script)])
    client = Http2Client(balancer.port)
    client.stalled.add(0)
    one, two = client.request(head()), client.request(head())
    client.wait(lambda: client.streams[one].size + client.streams[two].size == WINDOW, "a full window")
    client.ping()
    assert client.streams[one].size + client.streams[two].size == WINDOW
    # An answer without a body needs no window.
    client.grant(0, 80_000 - WINDOW)
    assert len(client.answer(one).body) == len(client.answer(two).body) == 40_000


def test_a_stream_window_of_nothing_lets_only_the_head_through(balance: Balance, h2_target: MakeTarget) -> None:
    balancer = balance([h2_target(answers)])
    client = Http2Client(balancer.port, {INITIAL_WINDOW_SIZE: 0})
    stream = client.request(head())
    assert client.head(stream).status == 200
    client.ping()
    assert client.streams[stream].size == 0
    client.grant(stream, 1)
    assert client.receive(stream, 1) == b"o"
    client.grant(stream, 1)
    assert client.receive(stream, 1) == b"k"
    client.answer(stream)


def test_a_new_initial_window_changes_streams_that_are_open(balance: Balance, h2_target: MakeTarget) -> None:
    """RFC 9113 6.9.2: by the difference, and below zero if need be."""

    async def script(call: Http2Call) -> None:
        await call.head(200)
        await call.write(b"x" * 1000)
        await call.end()

    balancer = balance([h2_target(script)])
    client = Http2Client(balancer.port, {INITIAL_WINDOW_SIZE: 100})
    client.stalled.add(1)
    stream = client.request(head())
    client.wait(lambda: client.streams[stream].size == 100, "the first window")
    client.send(b"\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x04\x00\x00\x00\x32")
    client.grant(stream, 50)
    client.ping()
    assert client.streams[stream].size == 100
    client.grant(stream, 1)
    client.wait(lambda: client.streams[stream].size == 101, "one more byte")
    client.grant(stream, 1000)
    client.wait(lambda: client.streams[stream].size == 1000, "the rest")


def test_no_frame_is_longer_than_the_client_takes(balance: Balance, h2_target: MakeTarget) -> None:
    async def script(call: Http2Call) -> None:
        await call.head(200)
        await call.write(b"x" * 60_000)
        await call.end()

    sizes: list[int] = []

    class Measuring(Http2Client):
        def _take_data(self, taken: Frame, grants: dict[int, int]) -> None:
            sizes.append(len(taken.payload))
            super()._take_data(taken, grants)

    balancer = balance([h2_target(script)])
    small = Measuring(balancer.port)
    assert len(small.ask(head()).body) == 60_000
    assert max(sizes) <= 16_384
    sizes.clear()
    large = Measuring(balancer.port, {MAX_FRAME_SIZE: 20_000})
    assert len(large.ask(head()).body) == 60_000
    assert max(sizes) <= 20_000


def test_a_target_s_small_window_is_kept(balance: Balance, h2_target: MakeTarget) -> None:
    """Its own library fails the test when a byte too many comes."""

    async def script(call: Http2Call) -> None:
        body = await call.body()
        await call.head(200)
        await call.write(b"%d" % len(body))
        await call.end()

    balancer = balance([h2_target(script, window=1000)])
    client = Http2Client(balancer.port)
    assert client.ask(head("POST"), b"x" * 300_000).body == b"300000"


def test_a_reader_that_takes_nothing_at_all_is_cut_off(balance: Balance, h2_target: MakeTarget) -> None:
    """It does not even read: what waits for it must not wait for ever."""

    async def script(call: Http2Call) -> None:
        await call.head(200)
        for _ in range(1000):
            await call.write(BLOCK)
        await call.end()

    balancer = balance([h2_target(script)], Setting(more='[limits]\nbody_timeout = "500ms"'))
    client = Http2Client(balancer.port, {INITIAL_WINDOW_SIZE: 0x7FFF_FFFF})
    client.grant(0, 1024 * MIB)
    client.request(head())
    balancer.wait_idle()
    assert Client(balancer.port).ask(b"GET / HTTP/1.0\r\n\r\n").status in {200, 502, 503}


def test_a_stream_whose_window_stays_closed_is_given_up_in_time(balance: Balance, h2_target: MakeTarget) -> None:
    """The client reads, answers every PING, and never lets one answer out: its target must not be held for ever."""

    async def script(call: Http2Call) -> None:
        if call.request.target != "/bulk":
            await answers(call)
            return
        await call.head(200)
        for _ in range(100):
            await call.write(BLOCK)
        await call.end()

    balancer = balance([h2_target(script)], Setting(more='[limits]\nbody_timeout = "500ms"'))
    client = Http2Client(balancer.port)
    bulk = client.request(head("GET", "/bulk"))
    client.stalled.add(bulk)
    client.wait_reset(bulk)
    assert client.ask(head("GET", "/small")).body == b"ok"
    balancer.wait_idle()
