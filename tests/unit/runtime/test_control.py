"""The channel between supervisor and worker."""

import asyncio
import socket
from collections.abc import Awaitable, Callable

import pytest
import uvloop

from equipoise.config.diff import diff
from equipoise.model import LimitsSpec, Outcome, PoolSpec, TargetSpec, World
from equipoise.runtime.control import (
    MAX_FRAME,
    TO_NEW_WORKER,
    TO_SUPERVISOR,
    TO_WORKER,
    Ack,
    Apply,
    Bootstrap,
    Channel,
    Company,
    ControlError,
    Cut,
    Drain,
    Event,
    Frames,
    Inherited,
    ReopenLogs,
    Report,
    ToSupervisor,
    ToWorker,
    attach,
    frame,
    receive_first,
)

WORLD = World(
    pools=(PoolSpec("p", 0, targets=(TargetSpec("t", "http://h:1", "h", 1, 1, addresses=("10.0.0.1", "::1")),)),),
    limits=LimitsSpec(drain_timeout=1.5),
)
BOOTSTRAP = Bootstrap(1, 2, 16, 5, (7, 8), (Inherited("127.0.0.1:80", (6, 9)),))
TO_A_WORKER: list[ToWorker] = [
    BOOTSTRAP,
    Apply(3, diff(World(), WORLD)),
    Apply(4, []),
    Cut(7),
    Drain(2.5),
    ReopenLogs(),
    Company(alone=True),
]
TO_THE_SUPERVISOR: list[ToSupervisor] = [
    Ack(3),
    Ack(4, "no such file"),
    Report("p", "t", Outcome.RESET, 12),
    Event("warning", "disk full", {"lines": 3, "path": None}),
]


@pytest.mark.parametrize("size", [1, 7, 10**6])
def test_messages_survive_any_way_of_cutting_the_stream(size: int) -> None:
    stream = b"".join(frame(message) for message in TO_A_WORKER)
    frames = Frames(TO_WORKER)
    received = [message for at in range(0, len(stream), size) for message in frames.feed(stream[at : at + size])]
    assert received == TO_A_WORKER


def test_a_workers_messages_arrive_as_they_were_sent() -> None:
    assert Frames(TO_SUPERVISOR).feed(b"".join(frame(message) for message in TO_THE_SUPERVISOR)) == TO_THE_SUPERVISOR


@pytest.mark.parametrize(
    "stream",
    [
        (MAX_FRAME + 1).to_bytes(4, "big"),
        frame(Ack(1)),  # a message of the other direction
        b"\0\0\0\2{]",
    ],
)
def test_what_is_no_message_is_an_error(stream: bytes) -> None:
    with pytest.raises(ControlError):
        Frames(TO_WORKER).feed(stream)


def test_the_bootstrap_is_read_and_nothing_behind_it() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(frame(BOOTSTRAP) + frame(Drain(1.0)))
        assert receive_first(theirs, TO_NEW_WORKER) == BOOTSTRAP
        assert Frames(TO_WORKER).feed(theirs.recv(1000)) == [Drain(1.0)]


def test_a_supervisor_that_leaves_before_the_bootstrap_is_an_error() -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        ours.close()
        with pytest.raises(ControlError):
            receive_first(theirs, TO_NEW_WORKER)


class End:
    """One end of a channel, with what it got and why it ended."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.got: asyncio.Queue[ToWorker] = asyncio.Queue()
        self.closed: asyncio.Queue[str] = asyncio.Queue()
        self.channel = Channel(TO_WORKER, self.got.put_nowait, self.closed.put_nowait)

    async def connect(self) -> None:
        await attach(self.channel, self.sock)


def with_ends(test: Callable[[End, End], Awaitable[None]]) -> None:
    async def run() -> None:
        ours, theirs = socket.socketpair()
        async with asyncio.timeout(10):
            await test(End(ours), End(theirs))

    uvloop.run(run())


def test_messages_sent_before_the_channel_is_connected_arrive_in_order() -> None:
    async def test(a: End, b: End) -> None:
        a.channel.send(Drain(1.0))
        await a.connect()
        a.channel.send(ReopenLogs())
        await b.connect()
        assert [await b.got.get(), await b.got.get()] == [Drain(1.0), ReopenLogs()]
        a.channel.close()
        assert await b.closed.get() == ""

    with_ends(test)


def test_a_frame_that_cannot_be_read_ends_the_channel_with_a_reason() -> None:
    async def test(a: End, b: End) -> None:
        await b.connect()
        a.sock.sendall(b"\0\0\0\2{]")
        assert "cannot be read" in await b.closed.get()
        a.sock.close()

    with_ends(test)


def test_a_message_whose_handling_fails_does_not_end_the_channel() -> None:
    async def test(a: End, b: End) -> None:
        broken: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _loop, context: broken.append(context["exception"]))
        handled: asyncio.Queue[ToWorker] = asyncio.Queue()

        def handle(message: ToWorker) -> None:
            if message == ReopenLogs():
                raise LookupError
            handled.put_nowait(message)

        b.channel = Channel(TO_WORKER, handle, b.closed.put_nowait)
        await b.connect()
        a.sock.sendall(frame(ReopenLogs()) + frame(Drain(1.0)))
        assert await handled.get() == Drain(1.0)
        assert [type(error) for error in broken] == [LookupError]
        a.sock.close()

    with_ends(test)


def test_sending_to_an_end_that_is_gone_is_no_error() -> None:
    async def test(a: End, b: End) -> None:
        await a.connect()
        b.sock.close()
        assert await a.closed.get() == ""
        a.channel.send(Drain(1.0))

    with_ends(test)


def test_a_channel_whose_worker_died_before_it_was_attached_closes_its_descriptor_only_once() -> None:
    async def run() -> None:
        ours, theirs = socket.socketpair()
        theirs.close()
        end = End(ours)
        end.channel.send(BOOTSTRAP)
        async with asyncio.timeout(10):
            await end.connect()
            await end.closed.get()
        assert ours.fileno() == -1, "the loop closes the descriptor, and nobody else may"

    uvloop.run(run())


def test_a_channel_that_was_closed_before_it_was_attached_hangs_up() -> None:
    async def run() -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            end = End(ours)
            end.channel.close()
            async with asyncio.timeout(10):
                await end.connect()
                await end.closed.get()
            assert (ours.fileno(), theirs.recv(1)) == (-1, b"")

    uvloop.run(run())
