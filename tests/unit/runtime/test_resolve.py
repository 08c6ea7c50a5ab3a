"""Names and their addresses over time, with a scripted name service."""

import asyncio
import socket
from collections.abc import Awaitable, Callable

import pytest
import uvloop

from equipoise.runtime import resolve
from equipoise.runtime.resolve import Resolver, ask_system, is_address
from tests.unit.runtime.parts import ReadableLog


class NameService:
    """Answers what it is told to; None is a failure."""

    def __init__(self) -> None:
        self.answers: dict[str, tuple[str, ...] | None] = {}
        self.asked: list[str] = []
        self.hangs = asyncio.Event()

    async def query(self, name: str) -> tuple[str, ...]:
        self.asked.append(name)
        if name == "hangs":
            await self.hangs.wait()
        answer = self.answers.get(name)
        if answer is None:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return answer


class Fixture:
    def __init__(self, log: ReadableLog) -> None:
        self.names = NameService()
        self.changes: list[tuple[str, tuple[str, ...]]] = []
        self.resolver = Resolver(log, lambda name, found: self.changes.append((name, found)), self.names.query)


def play(log: ReadableLog, test: Callable[[Fixture], Awaitable[None]]) -> None:
    async def run() -> None:
        async with asyncio.timeout(20):
            await test(Fixture(log))

    uvloop.run(run())


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110 -- what is waited for has no event
        await asyncio.sleep(0.005)


def test_the_first_lookup_is_done_when_it_returns(log: ReadableLog) -> None:
    async def test(fixture: Fixture) -> None:
        fixture.names.answers["a"] = ("10.0.0.1",)
        fixture.resolver.watch(["a", "10.0.0.9", "::1"])
        await fixture.resolver.first(10.0)
        assert fixture.resolver.addresses("a") == ("10.0.0.1",)
        assert fixture.names.asked == ["a"]

    play(log, test)


def test_an_address_is_its_own_and_never_looked_up(log: ReadableLog) -> None:
    async def test(fixture: Fixture) -> None:
        assert fixture.resolver.addresses("10.0.0.9") == ("10.0.0.9",)
        assert fixture.resolver.addresses("::1") == ("::1",)

    play(log, test)


def test_the_first_lookup_does_not_wait_for_a_name_service_that_hangs(log: ReadableLog) -> None:
    async def test(fixture: Fixture) -> None:
        fixture.resolver.watch(["hangs"])
        await fixture.resolver.first(0.05)
        assert fixture.resolver.addresses("hangs") == ()

    play(log, test)


def test_a_change_is_told_and_no_change_is_not(log: ReadableLog) -> None:
    async def test(fixture: Fixture) -> None:
        fixture.resolver.watch(["a"])
        for answer in [("1.1.1.1",), ("1.1.1.1",), ("2.2.2.2",)]:
            fixture.names.answers["a"] = answer
            await fixture.resolver.look_up("a")
        assert fixture.changes == [("a", ("1.1.1.1",)), ("a", ("2.2.2.2",))]

    play(log, test)


def test_old_addresses_stay_while_the_name_service_fails(log: ReadableLog) -> None:
    async def test(fixture: Fixture) -> None:
        fixture.resolver.watch(["a"])
        for answer in [("1.1.1.1",), None, None]:
            fixture.names.answers["a"] = answer
            await fixture.resolver.look_up("a")
        assert fixture.resolver.addresses("a") == ("1.1.1.1",)

    play(log, test)
    assert log.events == ["name does not resolve"]


def test_a_name_that_resolves_at_last_is_told(log: ReadableLog) -> None:
    async def test(fixture: Fixture) -> None:
        fixture.resolver.watch(["a"])
        await fixture.resolver.look_up("a")
        fixture.names.answers["a"] = ("1.1.1.1",)
        await fixture.resolver.look_up("a")
        assert fixture.changes == [("a", ("1.1.1.1",))]

    play(log, test)
    assert log.events == ["name does not resolve", "name resolves again"]


def test_a_name_in_a_hurry_is_looked_up_before_its_time(log: ReadableLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolve, "INTERVAL", 3600.0)

    async def test(fixture: Fixture) -> None:
        fixture.names.answers["a"] = ("1.1.1.1",)
        fixture.resolver.watch(["a"])
        running = asyncio.get_running_loop().create_task(fixture.resolver.run())
        await until(lambda: fixture.names.asked == ["a"])
        fixture.names.answers["a"] = ("2.2.2.2",)
        fixture.resolver.hurry("a")
        await until(lambda: fixture.resolver.addresses("a") == ("2.2.2.2",))
        running.cancel()

    play(log, test)


def test_hurries_do_not_flood_the_name_service(log: ReadableLog) -> None:
    async def test(fixture: Fixture) -> None:
        loop = asyncio.get_running_loop()
        fixture.names.answers["a"] = ("1.1.1.1",)
        fixture.resolver.watch(["a"])
        running = loop.create_task(fixture.resolver.run())
        started = loop.time()
        while len(fixture.names.asked) < 3:
            fixture.resolver.hurry("a")
            await asyncio.sleep(0.002)
        running.cancel()
        assert loop.time() - started >= 2 * resolve.HURRY * 0.9

    play(log, test)


def test_names_that_nobody_watches_any_more_are_forgotten(log: ReadableLog) -> None:
    async def test(fixture: Fixture) -> None:
        fixture.names.answers["a"] = ("1.1.1.1",)
        fixture.resolver.watch(["a"])
        await fixture.resolver.first(10.0)
        fixture.resolver.watch([])
        await fixture.resolver.look_up("a")
        assert fixture.resolver.addresses("a") == ()

    play(log, test)


def test_the_systems_answer_is_in_a_stable_order_with_ipv4_first() -> None:
    found = uvloop.run(ask_system("localhost"))
    assert found[0] == "127.0.0.1"
    assert list(found) == [address for address in found if ":" not in address] + [a for a in found if ":" in a]


@pytest.mark.parametrize(
    ("host", "expected"), [("10.0.0.1", True), ("::1", True), ("a.example", False), ("1.2", False)]
)
def test_an_address_is_told_from_a_name(host: str, expected: bool) -> None:
    assert is_address(host) is expected


def test_what_another_process_knew_is_believed_until_the_name_service_says_otherwise(log: ReadableLog) -> None:
    async def test(fixture: Fixture) -> None:
        fixture.resolver.remember({"a": ("10.0.0.1",), "b": ()})
        fixture.resolver.watch(["a"])
        await fixture.resolver.first(1.0)
        assert fixture.names.asked == []
        assert fixture.resolver.addresses("a") == ("10.0.0.1",)
        assert fixture.resolver.known() == {"a": ("10.0.0.1",)}
        await fixture.resolver.look_up("a")
        assert fixture.resolver.addresses("a") == ("10.0.0.1",)
        fixture.names.answers["a"] = ("10.0.0.2",)
        await fixture.resolver.look_up("a")
        assert fixture.resolver.addresses("a") == ("10.0.0.2",)

    play(log, test)
