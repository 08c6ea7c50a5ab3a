"""Calls about the configuration as a whole.

Owns: what they answer.
Refuses to know: how a file is read and taken up (`config`, `runtime.supervisor`).
"""

from typing import Annotated, Any

from fastapi import APIRouter, Query

from equipoise.admin.answers import ETAG, Boss, Expected, Switch, is_on, json_response, refusals, writes
from equipoise.admin.models import Algorithms, Configuration, Differences, Reloaded
from equipoise.config.decode import plain
from equipoise.policy.balance import ALGORITHMS

router = APIRouter(tags=["configuration"])


@router.get(
    "/config",
    summary="Read the configuration",
    response_model=Configuration,
    responses={200: {"headers": ETAG}, **refusals(422)},
)
async def read_config(
    supervisor: Boss,
    file: Annotated[Switch, Query(description="Whether the file's own values are wanted, without later changes.")] = (
        "false"
    ),
) -> Any:
    """The configuration in force, in the terms of the file, with defaults filled in."""
    if is_on(file):
        return json_response({"version": supervisor.version, "config": plain(supervisor.file)})
    return json_response(supervisor.configuration())


@router.get(
    "/config/differences",
    summary="Compare with the file",
    response_model=Differences,
    responses={200: {"headers": ETAG}, **refusals()},
)
async def read_differences(supervisor: Boss) -> Any:
    """Every place where the configuration in force is not what the file says."""
    return json_response({"version": supervisor.version, "differences": supervisor.differences()})


@router.post(
    "/reload",
    summary="Read the file again",
    response_model=Reloaded,
    responses={200: {"headers": ETAG}, **writes()},
)
async def reload(supervisor: Boss, expected: Expected) -> Any:
    """Reads the file again and takes it up, with the changes of earlier calls still laid over it.

    A file that is not valid, or that cannot be taken up while running, changes nothing.
    """
    before = supervisor.version
    version = await supervisor.reload(expected)
    return json_response({"version": version, "changed": version != before})


@router.get("/algorithms", summary="List algorithms", response_model=Algorithms, responses=refusals())
async def list_algorithms() -> Any:
    """The algorithms that are known by a name, with what each promises. Others are `"python:module:Class"`."""
    return json_response({"algorithms": [{"name": name, "promise": kind.promise} for name, kind in ALGORITHMS.items()]})
