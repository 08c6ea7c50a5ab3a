"""The admin API as one ASGI app.

Owns: how the parts go together, what the OpenAPI document says as a whole, and which exception is which refusal.
Refuses to know: any single call, and what carries the app (`server`).
"""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Final

from fastapi import APIRouter, Depends, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi_offline import FastAPIOffline
from starlette.exceptions import HTTPException
from starlette.routing import Match

from equipoise import __version__
from equipoise.admin import dashboard, events, routes_config, routes_pools, routes_processes, routes_status
from equipoise.admin.answers import authenticated
from equipoise.admin.events import Streams
from equipoise.admin.gate import Clocks, Gate
from equipoise.admin.metrics import Metrics
from equipoise.admin.models import FieldProblem, Problem
from equipoise.admin.problems import ProblemError, of_validation, problem_response
from equipoise.config.overlay import ConflictError, UnknownNameError
from equipoise.config.problems import ConfigError
from equipoise.runtime.changes import ChangeRefusedError, NotKeptError, StaleError
from equipoise.runtime.supervisor import Supervisor

DESCRIPTION: Final = """\
Watch and change a running Equipoise: its targets, its algorithms, its configuration.

**Tokens.** Everything under `/v1` needs `Authorization: Bearer TOKEN`, a JWT with `exp` and `role`: `read` may GET,
`admin` may all. `equipoise token --role admin` makes one. Probes, `/docs` and `/openapi.json` need none.

**Writes** are answered when every worker acts on them, and survive a restart. Each has the configuration's new
`version`, also as `ETag`; with `If-Match` a write is refused with 412 when somebody else was faster. A write that
changes nothing keeps the version. `POST /v1/reload` reads the file again and keeps what earlier calls changed.

**Refusals** are problem documents (RFC 9457, `application/problem+json`). Beside those that each call lists, any may be
answered 404 (no such path), 405 (with `Allow`), 408 and 413 (a body that is too slow or too large), 421 (on a loopback
address, a `Host` that is not this machine), 500 (a defect), and, as plain text, 400 (no HTTP) and 503 (too many at
once). HEAD is answered like GET, OPTIONS with `Allow`.
"""
TAGS: Final = [
    {"name": "status", "description": "What the balancer is doing."},
    {"name": "pools", "description": "Targets and algorithms of a pool."},
    {"name": "configuration", "description": "The configuration as a whole."},
    {"name": "processes", "description": "New processes in the place of those that run."},
    {"name": "events", "description": "What happens, as it happens."},
    {"name": "probes", "description": "For load balancers in front, orchestrators and Prometheus."},
]
METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE")


def make_app(supervisor: Supervisor, clocks: Clocks | None = None) -> FastAPI:
    """The app for a running balancer, dashboard included.

    Args:
        supervisor: what it watches and changes.
        clocks: what the time is.
    """
    app = make_api()
    app.state.supervisor = supervisor
    app.state.clocks = clocks or Clocks()
    app.state.streams = Streams()
    refused: Counter[int] = Counter()
    app.state.metrics = Metrics(supervisor, refused)
    app.add_middleware(Gate, config=supervisor.config, log=supervisor.log, clocks=app.state.clocks, refused=refused)
    dashboard.mount(app)
    return app


def make_api() -> FastAPI:
    """The calls and their documentation, with nothing behind them yet."""
    app = FastAPIOffline(
        title="Equipoise admin API",
        version=__version__,
        summary="Watch and change a running load balancer.",
        description=DESCRIPTION,
        openapi_tags=TAGS,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,
    )
    guarded = APIRouter(prefix="/v1", dependencies=[Depends(authenticated)])
    for router in (
        routes_status.router,
        routes_pools.router,
        routes_config.router,
        routes_processes.router,
        events.router,
    ):
        guarded.include_router(router)
    app.include_router(guarded)
    app.include_router(routes_status.public)
    for kind, answer in _HANDLERS.items():
        app.add_exception_handler(kind, answer)
    _complete_document(app)
    return app


def _complete_document(app: FastAPI) -> None:
    """Give the document, once it is made, the schema of refusals, which no route returns as its own."""
    make = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
            # The framework keeps what it made, and serves that.
            make()["components"]["schemas"] |= {**schema.pop("$defs"), "Problem": schema}
        return make()

    app.openapi = openapi  # type: ignore[method-assign]  # the framework's documented way


# Refusals


async def _http(request: Request, error: Any) -> Response:
    """What the framework refuses: no such path, no such method; and what routes refuse themselves."""
    if isinstance(error, ProblemError):
        return error.response()
    if error.status_code == 405:
        allow = ", ".join(allowed(request))
        if request.method == "OPTIONS":
            return Response(status_code=204, headers={"Allow": allow})
        return problem_response(405, f"this path knows {allow}", headers={"Allow": allow})
    return problem_response(error.status_code, "there is nothing at this path" if error.status_code == 404 else "")


async def _invalid(_request: Request, error: Any) -> Response:
    return of_validation(error).response()


async def _unknown(_request: Request, error: Any) -> Response:
    return problem_response(404, str(error))


async def _conflict(_request: Request, error: Any) -> Response:
    return problem_response(409, str(error))


async def _not_kept(_request: Request, error: Any) -> Response:
    """RFC 4918 11.5: the server is unable to store what it needs to complete the request."""
    return problem_response(507, str(error))


async def _stale(_request: Request, error: Any) -> Response:
    return problem_response(412, f"the version is {error.current}", headers={"ETag": f'"{error.current}"'})


async def _bad_config(_request: Request, error: Any) -> Response:
    errors = [
        FieldProblem(
            place=problem.path or "file",
            message=problem.message if problem.line is None else f"{problem.message} (line {problem.line})",
        )
        for problem in error.problems
    ]
    return problem_response(422, "; ".join(f"{each.place}: {each.message}" for each in errors[:3]), errors)


_HANDLERS: Final[Mapping[type[Exception], Callable[[Request, Any], Any]]] = {
    HTTPException: _http,
    RequestValidationError: _invalid,
    UnknownNameError: _unknown,
    ConflictError: _conflict,
    ChangeRefusedError: _conflict,
    NotKeptError: _not_kept,
    StaleError: _stale,
    ConfigError: _bad_config,
}


def allowed(request: Request) -> list[str]:
    """The methods that a path knows."""
    routes = request.app.router.routes
    found = [
        method
        for method in METHODS
        if any(route.matches({**request.scope, "method": method})[0] is Match.FULL for route in routes)
    ]
    return [*found, *(["HEAD"] if "GET" in found else []), "OPTIONS"]
