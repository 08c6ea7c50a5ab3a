"""Calls about one pool: its targets, its algorithm, its cache.

Owns: what a call becomes (an edit), and what it answers.
Refuses to know: what an edit leads to (`config.overlay`, `runtime.supervisor`), and who may call (`gate`).
"""

import re
from typing import Annotated, Any, Final
from urllib.parse import quote

from fastapi import APIRouter, Path, Query

from equipoise.admin.answers import ETAG, Boss, Expected, Switch, is_on, json_response, refusals, writes
from equipoise.admin.bodies import StrictRoute
from equipoise.admin.models import (
    AlgorithmChoice,
    CacheChanges,
    FieldProblem,
    NewTarget,
    PoolAlgorithm,
    PoolCache,
    Purged,
    RemovedTarget,
    TargetChanges,
    Targets,
    VersionedTarget,
)
from equipoise.admin.problems import ProblemError
from equipoise.config.edits import AddTarget, ChangeTarget, Edit, RemoveTarget, SetAlgorithm, SetCache
from equipoise.config.load import completed_target
from equipoise.config.overlay import UnknownNameError
from equipoise.config.problems import ConfigError, Problem
from equipoise.config.schema import TargetConfig
from equipoise.runtime.changes import StaleError
from equipoise.runtime.supervisor import Supervisor

PoolName = Annotated[str, Path(description="Name of the pool.", examples=["default"])]
TargetName = Annotated[str, Path(description="Name of the target.", examples=["127.0.0.1:9001"])]
# Where a value of the body stands in the configuration.
_FIELD: Final = re.compile(r"pools\..*(?:\.targets\[\d+\]|)\.([a-z_]+(?:\[\d+\])?)")
_LONGEST_PATH: Final = 8192


def _link(operation: str) -> dict[str, Any]:
    """From a target that was added to what can be done with it (OpenAPI 3.1, Link Object)."""
    return {
        "operationId": operation,
        "parameters": {"pool": "$request.path.pool", "target": "$response.body#/name"},
    }


router = APIRouter(prefix="/pools/{pool}", tags=["pools"], route_class=StrictRoute)


@router.get(
    "/targets", summary="List targets", response_model=Targets, responses={200: {"headers": ETAG}, **refusals(404, 422)}
)
async def list_targets(supervisor: Boss, pool: PoolName) -> Any:
    """The targets of a pool with their settings, health and counters, those that are leaving included."""
    pools: Any = supervisor.status()["pools"]
    if pool not in pools:
        raise UnknownNameError("pool", pool)
    return json_response({"version": supervisor.version, "pool": pool, "targets": pools[pool]["targets"]})


@router.post(
    "/targets",
    summary="Add a target",
    status_code=201,
    response_model=VersionedTarget,
    responses={
        201: {
            "headers": {**ETAG, "Location": {"description": "Where the target is.", "schema": {"type": "string"}}},
            "links": {name: _link(name) for name in ("read_target", "change_target", "remove_target")},
        },
        **writes(404, 415),
    },
)
async def add_target(supervisor: Boss, pool: PoolName, body: NewTarget, expected: Expected) -> Any:
    """Adds a target to a pool. It gets requests at once, unless its host name leads nowhere yet."""
    target = TargetConfig(**body.model_dump(exclude_unset=True))
    version = await _edit(supervisor, AddTarget(pool, target), expected)
    name = completed_target(target).name
    place = f"/v1/pools/{quote(pool, safe='')}/targets/{quote(name, safe='')}"
    return json_response({**supervisor.target(pool, name), "version": version}, 201, {"Location": place})


@router.get(
    "/targets/{target}",
    summary="Read a target",
    response_model=VersionedTarget,
    responses={200: {"headers": ETAG}, **refusals(404, 422)},
)
async def read_target(supervisor: Boss, pool: PoolName, target: TargetName) -> Any:
    """One target with its settings, health and counters. One that is leaving is there until it has left."""
    return json_response({"version": supervisor.version, **supervisor.target(pool, target)})


@router.patch(
    "/targets/{target}",
    summary="Change a target",
    response_model=VersionedTarget,
    responses={200: {"headers": ETAG}, **writes(404, 415)},
)
async def change_target(
    supervisor: Boss, pool: PoolName, target: TargetName, body: TargetChanges, expected: Expected
) -> Any:
    """Changes the settings that are given; counters are kept. Requests in flight are never cut by it."""
    edit = ChangeTarget(pool, target, **body.model_dump(exclude_unset=True))
    version = await _edit(supervisor, edit, expected)
    return json_response({**supervisor.target(pool, target), "version": version})


@router.delete(
    "/targets/{target}",
    summary="Remove a target",
    response_model=RemovedTarget,
    responses={200: {"headers": ETAG}, **writes(404)},
)
async def remove_target(
    supervisor: Boss,
    pool: PoolName,
    target: TargetName,
    expected: Expected,
    force: Annotated[Switch, Query(description="Whether requests in flight there are cut.")] = "false",
) -> Any:
    """Removes a target. It gets no new requests from now on; those in flight finish first, unless they are cut."""
    version = await supervisor.edit(RemoveTarget(pool, target), expected, force=is_on(force))
    try:
        left = supervisor.target(pool, target)["in_flight"]
    except UnknownNameError:
        left = 0
    return json_response({"version": version, "removed": target, "in_flight": left})


@router.get(
    "/algorithm",
    summary="Read the algorithm",
    response_model=PoolAlgorithm,
    responses={200: {"headers": ETAG}, **refusals(404, 422)},
)
async def read_algorithm(supervisor: Boss, pool: PoolName) -> Any:
    """How the targets of a pool are chosen."""
    found = supervisor.config.pools.get(pool)
    if found is None:
        raise UnknownNameError("pool", pool)
    return json_response({"version": supervisor.version, "pool": pool, "algorithm": found.algorithm})


@router.put(
    "/algorithm",
    summary="Switch the algorithm",
    response_model=PoolAlgorithm,
    responses={200: {"headers": ETAG}, **writes(404, 415)},
)
async def switch_algorithm(supervisor: Boss, pool: PoolName, body: AlgorithmChoice, expected: Expected) -> Any:
    """Chooses the targets of a pool in another way from the next request on; all counters are kept."""
    version = await _edit(supervisor, SetAlgorithm(pool, body.algorithm), expected)
    return json_response({"version": version, "pool": pool, "algorithm": body.algorithm})


@router.get(
    "/cache",
    summary="Read the cache",
    response_model=PoolCache,
    responses={200: {"headers": ETAG}, **refusals(404, 422)},
)
async def read_cache(supervisor: Boss, pool: PoolName) -> Any:
    """How the cache of a pool is used, and how it is set."""
    return json_response({"version": supervisor.version, "pool": pool, **supervisor.cache(pool)})


@router.put(
    "/cache",
    summary="Switch or tune the cache",
    response_model=PoolCache,
    responses={200: {"headers": ETAG}, **writes(404, 415)},
)
async def set_cache(supervisor: Boss, pool: PoolName, body: CacheChanges, expected: Expected) -> Any:
    """Changes the settings that are given, in the terms of the file; what is kept stays kept.

    Switched off, or with another `max_bytes`, the cache is emptied.
    """
    version = await _edit(supervisor, SetCache(pool, body.model_dump(exclude_unset=True)), expected)
    return json_response({"version": version, "pool": pool, **supervisor.cache(pool)})


@router.delete(
    "/cache", summary="Purge the cache", response_model=Purged, responses={200: {"headers": ETAG}, **writes(404)}
)
async def purge_cache(
    supervisor: Boss,
    pool: PoolName,
    expected: Expected,
    path: Annotated[
        str | None,
        Query(
            pattern="^/",
            max_length=_LONGEST_PATH,
            description="Only answers of this path, with any query unless it has one itself.",
        ),
    ] = None,
    prefix: Annotated[
        str | None,
        Query(pattern="^/", max_length=_LONGEST_PATH, description="Only answers of paths that begin so."),
    ] = None,
) -> Any:
    """Drops what is kept. When it is answered, no worker gives any of it, and what is on its way is not stored."""
    if path is not None and prefix is not None:
        raise ProblemError(
            422,
            "give path or prefix, not both",
            errors=[FieldProblem(place="query.prefix", message="does not go together with path")],
        )
    if expected is not None and expected != supervisor.version:
        raise StaleError(supervisor.version)
    purged = await supervisor.purge(pool, path or prefix or "", is_prefix=prefix is not None)
    return json_response({"version": supervisor.version, "pool": pool, "purged": purged})


async def _edit(supervisor: Supervisor, edit: Edit, expected: int | None) -> int:
    """As `Supervisor.edit`; problems name the field of the body instead of its place in the configuration."""
    try:
        return await supervisor.edit(edit, expected)
    except ConfigError as error:
        raise ConfigError([Problem(_field(problem.path), problem.message) for problem in error.problems]) from error


def _field(path: str) -> str:
    match = _FIELD.fullmatch(path)
    return match[1] if match else path
