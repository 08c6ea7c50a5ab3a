import asyncio

import pytest

from equipoise.runtime.lasting import to_its_end


def test_the_caller_gets_what_comes_of_it() -> None:
    async def work(fails: bool) -> int:
        if fails:
            raise ValueError("no")
        return 7

    async def test() -> None:
        async with asyncio.TaskGroup() as tasks:
            assert await to_its_end(tasks, work(fails=False)) == 7
            with pytest.raises(ValueError, match="no"):
                await to_its_end(tasks, work(fails=True))

    asyncio.run(test())


def test_it_goes_on_when_the_caller_is_cancelled() -> None:
    async def test() -> list[str]:
        done: list[str] = []
        gate = asyncio.Event()

        async def work() -> None:
            await gate.wait()
            done.append("whole")

        async with asyncio.TaskGroup() as tasks:
            caller = asyncio.get_running_loop().create_task(to_its_end(tasks, work()))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            caller.cancel()
            await asyncio.wait([caller])
            gate.set()
        return done

    assert asyncio.run(test()) == ["whole"]
