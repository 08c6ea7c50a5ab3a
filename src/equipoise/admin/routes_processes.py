"""Calls that put new processes in the place of those that run.

Owns: what they answer.
Refuses to know: how one process follows another (`runtime.succession`).
"""

from typing import Any

from fastapi import APIRouter

from equipoise.admin.answers import ETAG, Boss, json_response, refusals
from equipoise.admin.models import ReplacedWorkers, Upgrade

router = APIRouter(tags=["processes"])


@router.post(
    "/upgrade",
    summary="Start the balancer anew",
    response_model=Upgrade,
    responses={200: {"headers": ETAG}, **refusals(409)},
)
async def upgrade(supervisor: Boss) -> Any:
    """Starts the program that is on the disk now, with the file as it is now, and hands over to it.

    It takes over the listening sockets, so no connection is refused; the process that answers this call drains from
    then on. When the new one cannot start, the old one goes on as before.
    """
    done = await supervisor.upgrade()
    return json_response({"version": done.version, "pid": done.pid, "before": done.before})


@router.post(
    "/workers/replace",
    summary="Replace the workers",
    response_model=ReplacedWorkers,
    responses={200: {"headers": ETAG}, **refusals(409)},
)
async def replace_workers(supervisor: Boss) -> Any:
    """Puts a new process in the place of each worker, one after the other.

    Each takes requests before the one before it stops to, which then has `drain_timeout` to finish what it carries.
    Answered when the last of them is gone.
    """
    replaced = await supervisor.replace_workers()
    workers = [{"before": each.before, "pid": each.after} for each in replaced]
    return json_response({"version": supervisor.version, "workers": workers})
