import asyncio
import os
import signal
import urllib.request
from pathlib import Path

import pytest

from equipoise import Balancer, BalancerError, ConfigError
from tests.scenarios.support.polling import eventually


def table(target: str, **more: object) -> dict[str, object]:
    return {"pools": {"default": {"targets": [target]}}, **more}


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


# With a thread


def test_it_serves_inside_the_block_and_is_gone_after_it(target: str) -> None:
    with Balancer(table(target, workers=2)) as balancer:
        pids = [balancer.pid, *(worker["pid"] for worker in balancer.status()["workers"])]
        folder = balancer.log.parent
        assert len(pids) == 3
        assert urllib.request.urlopen(balancer.url).status == 200
    assert [pid for pid in pids if alive(pid)] == []
    assert not folder.exists()


def test_a_folder_that_is_named_stays(target: str, tmp_path: Path) -> None:
    with Balancer(table(target), folder=tmp_path / "made" / "here"):
        pass
    assert {path.name for path in (tmp_path / "made" / "here").iterdir()} == {
        "equipoise.toml",
        "equipoise.log",
        "access.log",
        "state",
    }


def test_an_exception_leaves_the_block_as_it_is_and_the_balancer_at_once(target: str) -> None:
    pids = []

    def run() -> None:
        with Balancer(table(target)) as balancer:
            pids.append(balancer.pid)
            raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        run()
    assert not alive(pids[0])


def test_it_can_be_entered_again_but_not_twice_at_once(target: str) -> None:
    balancer = Balancer(table(target))
    with balancer as first, pytest.raises(BalancerError, match="runs already"), balancer:
        pass
    with balancer as second:
        assert second.pid != first.pid


def test_a_bad_configuration_starts_nothing() -> None:
    with pytest.raises(ConfigError, match=r"pools\.default\.targets"), Balancer({"pools": {"default": {}}}):
        pass


def test_what_keeps_it_from_starting_is_said_in_its_own_words(target: str) -> None:
    with (
        Balancer(table(target)) as first,
        pytest.raises(BalancerError, match=r"(?s)did not start: exit code 1.*another process listens there already"),
        Balancer(table(target, listen=first.addresses[0])),
    ):
        pass


def test_a_start_that_takes_too_long_is_ended(target: str) -> None:
    balancer = Balancer(table(target), timeout=0)
    with pytest.raises(BalancerError, match="not ready within 0 s"), balancer:
        pass


def test_a_balancer_that_broke_is_an_error_at_the_end(target: str) -> None:
    def run() -> None:
        with Balancer(table(target)) as balancer:
            os.kill(balancer.pid, signal.SIGKILL)
            eventually(lambda: has_ended(balancer.pid))

    with pytest.raises(BalancerError, match="ended with signal SIGKILL"):
        run()


def test_a_balancer_that_somebody_else_ended_is_an_error_at_the_end(target: str) -> None:
    def run() -> None:
        with Balancer(table(target)) as balancer:
            os.kill(balancer.pid, signal.SIGTERM)
            eventually(lambda: has_ended(balancer.pid))

    with pytest.raises(BalancerError, match="was ended by somebody else"):
        run()


def has_ended(pid: int) -> bool:
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


# With an event loop


def test_it_serves_in_an_event_loop(target: str) -> None:
    async def main() -> int:
        async with Balancer(table(target)) as balancer:
            answer = await asyncio.to_thread(urllib.request.urlopen, balancer.url)
            assert answer.status == 200
            assert len((await balancer.status())["workers"]) == 1
            return balancer.pid

    assert not alive(asyncio.run(main()))


def test_the_loop_goes_on_while_it_starts_and_ends(target: str) -> None:
    async def main() -> tuple[int, int]:
        beats = 0

        async def beat() -> None:
            nonlocal beats
            while True:
                beats += 1
                await asyncio.sleep(0)

        async with asyncio.TaskGroup() as tasks:
            beating = tasks.create_task(beat())
            async with Balancer(table(target)):
                started = beats
            ended = beats - started
            beating.cancel()
        return started, ended

    started, ended = asyncio.run(main())
    assert started > 10
    assert ended > 10


def test_a_start_that_is_cancelled_leaves_nothing_behind(target: str, tmp_path: Path) -> None:
    async def main() -> None:
        async with asyncio.timeout(0.2), Balancer(table(target), folder=tmp_path):
            await asyncio.sleep(3600)

    with pytest.raises(TimeoutError):
        asyncio.run(main())  # the guard against processes that are left behind does the rest


def test_a_block_that_is_cancelled_ends_it_at_once(target: str) -> None:
    pids = []

    async def main() -> None:
        async with Balancer(table(target)) as balancer:
            pids.append(balancer.pid)
            task = asyncio.current_task()
            assert task is not None
            task.cancel()
            await asyncio.sleep(3600)

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(main())
    assert not alive(pids[0])
