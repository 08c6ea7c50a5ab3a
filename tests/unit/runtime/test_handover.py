"""Two processes of which one takes over from the other; the new one is a script of the test."""

import asyncio
import os
import socket
import sys
from collections.abc import Awaitable, Callable

import pytest
import uvloop

from equipoise.runtime.handover import VARIABLE, Ancestor, HandoverError, Heir, Legacy, Prepared
from equipoise.runtime.listen import Bequest
from equipoise.runtime.targets import Unwell

LEGACY = Legacy(
    pid=1,
    listeners=(Bequest("127.0.0.1:0", "127.0.0.1:80", (3, 4)), Bequest("[::1]:80", "[::1]:80", (5,))),
    admin=(Bequest("127.0.0.1:8081", "127.0.0.1:8081", (6,)),),
    lock=7,
    unwell=(Unwell("p", "t", "http://t:1", "reset", 1.5, 2),),
    addresses={"t": ("10.0.0.1",)},
)
BEGIN = """
import asyncio, os, sys
from equipoise.runtime.handover import Ancestor, Prepared
ancestor = Ancestor.from_environment(os.environ)
"""
WELL = """
async def main():
    await ancestor.wait_for_order(Prepared(ancestor.legacy.pid + 6, (1,)))
    await ancestor.tell_in_charge()
asyncio.run(main())
"""


def play(script: str, test: Callable[[Heir], Awaitable[None]]) -> Heir:
    """Runs a test with a new process that does as the script says."""

    async def run() -> Heir:
        heir = Heir.start((), {}, [sys.executable, "-c", BEGIN + script])
        try:
            async with asyncio.timeout(30):
                await test(heir)
        finally:
            heir.popen.returncode = None  # whoever hung up does not wait for it
            heir.popen.kill()
            heir.popen.wait()
        return heir

    return uvloop.run(run())


def test_all_descriptors_are_handed_down() -> None:
    assert LEGACY.fds == (7, 3, 4, 5, 6)
    assert Legacy(pid=1).fds == ()


def test_a_new_process_prepares_and_takes_over() -> None:
    async def test(heir: Heir) -> None:
        assert await heir.prepare(LEGACY, 20) == Prepared(7, (1,))
        await heir.put_in_charge(20)
        heir.hang_up()

    play(WELL, test)


def test_the_legacy_arrives_whole() -> None:
    async def test(heir: Heir) -> None:
        with pytest.raises(HandoverError) as error:
            await heir.prepare(LEGACY, 20)
        assert str(error.value) == f"the new process cannot start: {LEGACY!r}"
        assert await heir.end() == {"exit_code": 0}

    play("ancestor.fail(repr(ancestor.legacy))", test)


def test_a_large_legacy_arrives_too() -> None:
    many = Legacy(pid=1, unwell=LEGACY.unwell * 20_000)

    async def test(heir: Heir) -> None:
        with pytest.raises(HandoverError, match="20000"):
            await heir.prepare(many, 20)
        await heir.end()

    play("ancestor.fail(str(len(ancestor.legacy.unwell)))", test)


def test_the_variable_is_not_passed_on() -> None:
    async def test(heir: Heir) -> None:
        with pytest.raises(HandoverError, match="None"):
            await heir.prepare(LEGACY, 20)
        await heir.end()

    play(f"ancestor.fail(str(os.environ.get({VARIABLE!r})))", test)


@pytest.mark.parametrize("script", ["", "sys.exit(3)", "os.kill(os.getpid(), 9)"])
def test_a_new_process_that_leaves_without_a_word_is_noticed(script: str) -> None:
    async def test(heir: Heir) -> None:
        with pytest.raises(HandoverError, match="left before it was ready"):
            await heir.prepare(LEGACY, 20)
        await heir.end()

    play(script, test)


def test_one_that_is_not_ready_in_time_is_ended() -> None:
    async def test(heir: Heir) -> None:
        with pytest.raises(HandoverError, match=r"was not ready within 0\.2 s"):
            await heir.prepare(LEGACY, 0.2)
        assert await heir.end() == {"signal": "SIGKILL"}

    play("import time; time.sleep(60)", test)


def test_one_that_does_not_take_over_in_time_is_an_error() -> None:
    async def test(heir: Heir) -> None:
        await heir.prepare(LEGACY, 20)
        with pytest.raises(HandoverError, match=r"did not take over within 0\.2 s"):
            await heir.put_in_charge(0.2)
        await heir.end()

    play("asyncio.run(ancestor._line.say(Prepared(1, ())))\nimport time; time.sleep(60)", test)


def test_one_that_fails_when_it_is_to_take_over_says_why() -> None:
    async def test(heir: Heir) -> None:
        await heir.prepare(LEGACY, 20)
        with pytest.raises(HandoverError, match="did not take over: the disk is full"):
            await heir.put_in_charge(20)
        await heir.end()

    play(WELL.replace("await ancestor.tell_in_charge()", 'ancestor.fail("the disk is full")'), test)


def test_one_whose_old_process_gives_up_leaves() -> None:
    async def test(heir: Heir) -> None:
        await heir.prepare(LEGACY, 20)
        assert await heir.end() == {"exit_code": 5}

    script = """
async def main():
    try:
        await ancestor.wait_for_order(Prepared(1, ()))
    except Exception as error:
        sys.exit(5 if "is gone, or has given up" in str(error) else 6)
asyncio.run(main())
"""
    play(script, test)


def test_a_program_that_is_not_there_is_an_error() -> None:
    with pytest.raises(HandoverError, match="cannot be started"):
        Heir.start((), {}, ["/nowhere/python"])


def test_the_first_process_has_nothing_to_take_over() -> None:
    assert Ancestor.from_environment({}) is None


@pytest.mark.parametrize("said", ["many", "1000000", "-1"])
def test_a_variable_that_names_no_socket_is_an_error(said: str) -> None:
    environment = {VARIABLE: said}
    with pytest.raises(HandoverError, match="nothing can be taken over"):
        Ancestor.from_environment(environment)
    assert environment == {}


def test_an_old_process_that_is_gone_at_once_is_an_error() -> None:
    ours, theirs = socket.socketpair()
    ours.close()
    with pytest.raises(HandoverError, match="nothing can be taken over"):
        Ancestor.from_environment({VARIABLE: str(os.dup(theirs.fileno()))})
    theirs.close()
