"""Work that is done whole, whoever waits for it.

Owns: that a caller who is cancelled (a client that hangs up) does not take along what was begun for it.
Refuses to know: what the work is.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")


async def to_its_end(tasks: asyncio.TaskGroup, work: Coroutine[Any, Any, Result]) -> Result:
    """What `work` returns or raises; it goes on when the caller is cancelled.

    Args:
        tasks: what holds it meanwhile.
        work: what is to be done.
    """
    done: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
    tasks.create_task(_settle(done, work))
    return await asyncio.shield(done)


async def _settle(done: "asyncio.Future[Result]", work: Coroutine[Any, Any, Result]) -> None:
    try:
        done.set_result(await work)
    except Exception as error:  # noqa: BLE001 -- it belongs to whoever waits
        done.set_exception(error)
        done.exception()  # nobody may be waiting any more, which is no reason to complain
