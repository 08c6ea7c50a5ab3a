"""Floods end with GOAWAY ENHANCE_YOUR_CALM, cost next to nothing, and nobody else notices."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.scenarios.conftest import Balance
from tests.scenarios.support.balancer import COMPILED, Balancer
from tests.scenarios.support.http2_client import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    ENHANCE_YOUR_CALM,
    GOAWAY,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    PING,
    PRIORITY,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    Http2Client,
    frame,
    head,
    number,
    settings,
)
from tests.scenarios.support.http2_target import Http2Call, Http2Target, answers, hangs
from tests.scenarios.support.polling import eventually
from tests.scenarios.support.stage import Call, Stage, answer, says

MakeTarget = Callable[..., Http2Target]
MIB = 1024 * 1024
MOST_GROWTH = 10 * MIB
MOST_CPU_S = 0.5
# A flood is said in pieces of so many frames; in between the client reads what comes.
PIECE = 200


def cpu_seconds(balancer: Balancer) -> float:
    """What the workers have used of the processors."""
    ticks = 0
    for pid in balancer.workers:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


@contextmanager
def harmless(balancer: Balancer) -> Iterator[None]:
    """What happens inside costs little, and another client, connected all the while, is served as before."""
    other = Http2Client(balancer.port)
    for _ in range(20):
        assert other.ask(head("GET", "/other")).status == 200
    cpu, memory = cpu_seconds(balancer), balancer.resident()
    yield
    assert other.ask(head("GET", "/other")).status == 200
    assert not other.found(GOAWAY)
    grown = balancer.resident() - memory
    assert grown < MOST_GROWTH, f"{grown / MIB:.1f} MiB"
    if COMPILED:
        spent = cpu_seconds(balancer) - cpu
        assert spent < MOST_CPU_S, f"{spent:.2f} s"
    with Http2Client(balancer.port) as later:
        assert later.ask(head("GET", "/later")).status == 200
    other.close()
    balancer.wait_idle()


def flood(client: Http2Client, frames: Callable[[], bytes], most: int = 100_000) -> int:
    """Says the same again and again until the balancer has enough; returns how often it was said."""
    said = 0
    with suppress(ConnectionError):
        while said < most and not client.found(GOAWAY) and not client.closed:
            client.send(b"".join(frames() for _ in range(PIECE)))
            said += PIECE
            client.look()
    return said


def assert_calmed(client: Http2Client) -> None:
    """The balancer has said what was too much."""
    assert client.wait_goaway().code == ENHANCE_YOUR_CALM


class Streams:
    """Frames on one new stream after the other."""

    def __init__(self, client: Http2Client, *frames: Callable[[int], bytes], end: bool = True) -> None:
        self.client = client
        self.frames = frames
        self.flags = END_HEADERS | (END_STREAM if end else 0)

    def __call__(self) -> bytes:
        stream = self.client.open()
        block = self.client.block(head("POST", "/flood"))
        return frame(HEADERS, stream, block, self.flags) + b"".join(each(stream) for each in self.frames)


# Each begins a request that the client lets drop at once (CVE-2023-44487), or that we have to end for it
# (CVE-2025-8671).
RESETS: dict[str, tuple[bool, list[Callable[[int], bytes]]]] = {
    "rapid reset": (True, [lambda stream: frame(RST_STREAM, stream, number(8))]),
    "rapid reset of uploads": (False, [lambda stream: frame(RST_STREAM, stream, number(8))]),
    "made you reset by a window": (True, [lambda stream: frame(WINDOW_UPDATE, stream, number(0))]),
    "made you reset by an overflow": (True, [lambda stream: frame(WINDOW_UPDATE, stream, number(0x7FFF_FFFF))]),
    "made you reset by DATA behind the end": (True, [lambda stream: frame(DATA, stream, b"x")]),
    "made you reset by a second head": (False, [lambda stream: frame(HEADERS, stream, b"\x82", END_HEADERS)]),
    "made you reset by PRIORITY": (True, [lambda stream: frame(PRIORITY, stream, bytes(4))]),
}


@pytest.mark.parametrize("name", RESETS)
@pytest.mark.parametrize("up", ["h1", "h2"])
def test_resets(stage: Stage, balance: Balance, h2_target: MakeTarget, name: str, up: str) -> None:
    end, frames = RESETS[name]

    async def script(call: Http2Call) -> None:
        await (hangs if call.request.target == "/flood" else answers)(call)

    async def script1(call: Call) -> None:
        if call.request.target == "/flood":
            await call.gone()
        else:
            await says(answer())(call)

    target = h2_target(script) if up == "h2" else stage.target(script1)
    balancer = balance([target])
    with harmless(balancer):
        client = Http2Client(balancer.port)
        flood(client, Streams(client, *frames, end=end), 5000)
        assert_calmed(client)
        # What is dropped still counts as in flight until the target has let go of it.
        eventually(lambda: target.in_flight, lambda count: count == 0)
    assert sum(request.target == "/flood" for request in target.requests) <= 1000


def test_header_blocks_without_end(balance: Balance, h2_target: MakeTarget) -> None:
    """CVE-2024-27316 and its kin."""
    balancer = balance([h2_target(answers)])
    with harmless(balancer):
        client = Http2Client(balancer.port)
        stream = client.open()
        client.send_frame(HEADERS, stream, client.block(head()))
        piece = frame(CONTINUATION, stream, client.block([(b"x-%d" % n, b"y" * 100) for n in range(100)]))
        flood(client, lambda: piece, 5000)
        assert_calmed(client)


def test_header_blocks_of_empty_frames(balance: Balance, h2_target: MakeTarget) -> None:
    balancer = balance([h2_target(answers)])
    with harmless(balancer):
        client = Http2Client(balancer.port)
        stream = client.open()
        client.send_frame(HEADERS, stream)
        flood(client, lambda: frame(CONTINUATION, stream))
        assert_calmed(client)


def test_a_small_block_that_decodes_to_a_large_head(balance: Balance, h2_target: MakeTarget) -> None:
    """CVE-2016-6581: a field of 4 KB, put in the table once and named 60,000 times."""
    target = h2_target(answers)
    balancer = balance([target])
    with harmless(balancer):
        client = Http2Client(balancer.port)
        first = client.block([*head("GET", "/flood"), (b"x-bomb", b"y" * 3900)])
        entry = len(first)
        for _ in range(20):
            stream = client.open()
            client.send_frame(HEADERS, stream, first if entry else b"")
            # 62: the newest entry of the table.
            for flags in (0, 0, END_HEADERS):
                client.send_frame(CONTINUATION, stream, b"\xbe" * 16_000, flags)
            client.look()
            if client.found(GOAWAY):
                break
        with suppress(ConnectionError):
            client.wait(
                lambda: client.closed or all(each.answer or each.done for each in client.streams.values()), "it"
            )
        statuses = {each.answer.status for each in client.streams.values() if each.answer is not None}
        assert statuses <= {431}
        assert statuses or client.found(GOAWAY)
    assert "/flood" not in target.paths


SIMPLE: dict[str, bytes] = {
    "SETTINGS": frame(SETTINGS, 0),
    "SETTINGS that move every window": settings({INITIAL_WINDOW_SIZE: 1}) + settings({INITIAL_WINDOW_SIZE: 65_535}),
    "SETTINGS that resize the table": settings({1: 0}) + settings({1: 4096}),
    "acknowledgements of nothing": frame(SETTINGS, 0, b"", 1),
    "PRIORITY": frame(PRIORITY, 1, bytes([0, 0, 0, 0, 16])),
    "frames that nobody knows": frame(0xFA, 0, b"x"),
    "resets of streams that are gone": frame(RST_STREAM, 1, number(8)),
}
# What a second of it costs is little, so that the budget is large: the interpreted mode is slower than the budget.
FAST: dict[str, bytes] = {
    "PING": frame(PING, 0, bytes(8)),
    "WINDOW_UPDATE of the connection": frame(WINDOW_UPDATE, 0, number(1)),
}


def frames_of_no_use(balance: Balance, make: MakeTarget, data: bytes) -> None:
    """Says the same frame again and again, on a connection that was in use."""
    balancer = balance([make(answers)])
    with harmless(balancer):
        client = Http2Client(balancer.port)
        client.ask(head())
        flood(client, lambda: data, 400_000)
        assert_calmed(client)


@pytest.mark.parametrize("name", SIMPLE)
def test_frames_of_no_use(balance: Balance, h2_target: MakeTarget, name: str) -> None:
    frames_of_no_use(balance, h2_target, SIMPLE[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", FAST)
def test_cheap_frames_of_no_use(balance: Balance, h2_target: MakeTarget, name: str) -> None:
    frames_of_no_use(balance, h2_target, FAST[name])


@pytest.mark.parametrize("padded", [False, True])
def test_data_without_a_byte(balance: Balance, h2_target: MakeTarget, padded: bool) -> None:
    balancer = balance([h2_target(answers)])
    with harmless(balancer):
        client = Http2Client(balancer.port)
        stream = client.request(head("POST", "/flood"), end=False)
        flood(client, lambda: frame(DATA, stream, b"\x00" if padded else b"", 0x8 if padded else 0))
        assert_calmed(client)


def test_trailers_and_heads_without_a_byte(balance: Balance, h2_target: MakeTarget) -> None:
    balancer = balance([h2_target(answers)])
    with harmless(balancer):
        client = Http2Client(balancer.port)
        flood(client, lambda: frame(HEADERS, client.open(), b"", END_HEADERS | END_STREAM), 5000)
        assert_calmed(client)


def test_data_on_streams_that_are_gone(balance: Balance, h2_target: MakeTarget) -> None:
    balancer = balance([h2_target(answers)])
    with harmless(balancer):
        client = Http2Client(balancer.port)
        stream = client.request(head("POST", "/flood"), end=False)
        client.reset(stream)
        flood(client, lambda: frame(DATA, stream, b"x"))
        assert_calmed(client)


@pytest.mark.slow
def test_a_window_that_opens_byte_by_byte(balance: Balance, h2_target: MakeTarget) -> None:
    """CVE-2019-9511: each byte of the answer costs a frame."""

    async def script(call: Http2Call) -> None:
        await call.head(200)
        if call.request.target == "/flood":
            await call.write(bytes(MIB))
        await call.end()

    balancer = balance([h2_target(script)])
    with harmless(balancer):
        client = Http2Client(balancer.port, {INITIAL_WINDOW_SIZE: 0})
        stream = client.request(head("GET", "/flood"))
        client.stalled |= {0, stream}
        client.head(stream)
        flood(client, lambda: frame(WINDOW_UPDATE, stream, number(1)), 400_000)
        assert_calmed(client)


def test_answers_to_pings_that_nobody_reads(balance: Balance, h2_target: MakeTarget) -> None:
    """CVE-2019-9512: they must not pile up in memory."""
    balancer = balance([h2_target(answers)])
    with harmless(balancer):
        client = Http2Client(balancer.port)
        client.sock.settimeout(2)
        ping = frame(PING, 0, bytes(8)) * 1000
        with suppress(ConnectionError, TimeoutError):
            for _ in range(2000):
                client.send(ping)
        client.close()


@pytest.mark.parametrize("window", ["closed", "open"])
def test_answers_that_nobody_takes(balance: Balance, h2_target: MakeTarget, window: str) -> None:
    """CVE-2019-9517: a hundred answers of a mebibyte each wait, for a window or for a client that does not read."""
    wrote = 0

    async def script(call: Http2Call) -> None:
        nonlocal wrote
        if call.request.target != "/flood":
            await answers(call)
            return
        await call.head(200)
        for _ in range(64):
            await call.write(bytes(MIB // 64))
            wrote += MIB // 64
        await call.end()

    balancer = balance([h2_target(script), h2_target(script)])
    with harmless(balancer):
        before = balancer.resident()
        client = Http2Client(balancer.port, {INITIAL_WINDOW_SIZE: 0 if window == "closed" else 0x7FFF_FFFF})
        client.grant(0, 0x7000_0000)
        for _ in range(100):
            client.request(head("GET", "/flood"))
        settled = [-1]

        def stands_still() -> bool:
            """Nothing was written since the last look but one."""
            settled.append(wrote)
            return len(settled) > 50 and settled[-50] == wrote

        eventually(stands_still)
        assert wrote < 100 * MIB
        grown = balancer.resident() - before
        # Whoever else is behind the same connections to the targets has room there.
        with Http2Client(balancer.port) as meanwhile:
            for _ in range(10):
                assert meanwhile.ask(head("GET", "/other")).body == b"ok"
        client.close()
    assert grown < MOST_GROWTH, f"{grown / MIB:.1f} MiB for {wrote / MIB:.1f} MiB that the targets could write"
