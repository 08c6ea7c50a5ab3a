"""Calls that ask how the balancer is: for operators, for probes, for Prometheus.

Owns: what they answer.
Refuses to know: how any of it is found out.
"""

from typing import Any, Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse

from equipoise.admin.answers import ETAG, Boss, json_response, refusals
from equipoise.admin.metrics import Metrics
from equipoise.admin.models import Status

router = APIRouter(tags=["status"])
# Outside of /v1, and without a token.
public = APIRouter(tags=["probes"])

_METRICS_EXAMPLE: Final = "# TYPE equipoise_in_flight gauge\n"


def _text(description: str, example: str) -> dict[str, Any]:
    return {"description": description, "content": {"text/plain": {"schema": {"type": "string"}, "example": example}}}


@router.get(
    "/status", summary="Read the status", response_model=Status, responses={200: {"headers": ETAG}, **refusals()}
)
async def read_status(supervisor: Boss) -> Any:
    """What the balancer is doing: pools with their targets, requests in flight, health, counters; workers."""
    return json_response(supervisor.status())


@public.get(
    "/healthz",
    summary="Is the process alive?",
    response_class=PlainTextResponse,
    responses={200: _text("It is.", "ok")},
)
async def healthz() -> PlainTextResponse:
    """Answers as long as the supervisor does. For a liveness probe."""
    return PlainTextResponse("ok")


@public.get(
    "/readyz",
    summary="Does it take requests?",
    response_class=PlainTextResponse,
    responses={200: _text("It does.", "ready"), 503: _text("It does not, and why.", "2 of 4 workers are up")},
)
async def readyz(supervisor: Boss) -> PlainTextResponse:
    """Whether all workers are up, some target is up, and nothing drains. For a readiness probe."""
    reason = supervisor.ready()
    return PlainTextResponse("ready") if reason is None else PlainTextResponse(reason, 503)


@public.get(
    "/metrics",
    summary="Read metrics",
    response_class=PlainTextResponse,
    responses={200: _text("In the text format of Prometheus or OpenMetrics.", _METRICS_EXAMPLE), **refusals()},
    openapi_extra={"security": [{}, {"HTTPBearer": []}]},
)
async def metrics(request: Request) -> Response:
    """Metrics for Prometheus. Whether a token is needed is `[admin] metrics_public`."""
    all_metrics: Metrics = request.app.state.metrics
    body, content_type = await all_metrics.text(request.headers.get("accept"))
    return Response(body, headers={"Content-Type": content_type})
