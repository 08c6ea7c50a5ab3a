"""What the routes share: the supervisor behind them, how they answer, and how their refusals are documented.

Owns: JSON answers with their version, preconditions, and the texts of refusals in the OpenAPI document.
Refuses to know: any single call.
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

import orjson
from fastapi import Depends, Header, Request, Response, Security
from fastapi.security import HTTPBearer

from equipoise.admin.problems import MEDIA_TYPE, ProblemError, title
from equipoise.runtime.supervisor import Supervisor

_TAG: Final = re.compile(r'[0-9]{1,18}|"[0-9]{1,18}"')

_DETAILS: Final[Mapping[int, tuple[str, str]]] = {
    401: ("No token, or none that is valid.", "token invalid"),
    403: ("The token's role is not enough.", 'the role "admin" is needed'),
    404: ("There is no pool or target of that name.", 'there is no target "127.0.0.1:9009"'),
    408: ("The body did not come in time.", "the body did not come in time"),
    409: ("It contradicts what is there, or cannot be taken up now.", 'pool "default" has a target "d" already'),
    412: ("The configuration has another version by now.", "the version is 8"),
    413: ("The body is too large.", "the body must not be larger than 65536 bytes"),
    415: ("The body is no JSON.", "send JSON as it is, with Content-Type: application/json"),
    422: ("The request is not valid; every part that is wrong is named.", "the request is not valid: weight: ..."),
    429: (
        "Too many calls without a valid token from one address; those with one are never refused so.",
        "too many calls from there without a valid token",
    ),
    507: (
        "The disk does not take the change, which a restart would have to find there. Nothing was changed.",
        "the state cannot be kept in /var/lib/equipoise: No space left on device",
    ),
}
_FIELDS: Final = {
    401: ("WWW-Authenticate", "The challenge of RFC 6750."),
    403: ("WWW-Authenticate", "The challenge of RFC 6750, with the role that is needed as `scope`."),
    412: ("ETag", "The version that it has."),
    429: ("Retry-After", "Seconds to wait."),
}

ETAG: Final[Mapping[str, Any]] = {
    "ETag": {"description": "The configuration's version, quoted.", "schema": {"type": "string"}}
}

_bearer = HTTPBearer(
    bearerFormat="JWT",
    auto_error=False,
    description="A JWT with `exp` and `role` (`read` may GET, `admin` may all); `equipoise token` makes one.",
)


async def _supervisor(request: Request) -> Supervisor:
    found: Supervisor = request.app.state.supervisor
    return found


async def authenticated(request: Request, _token: Annotated[Any, Security(_bearer)]) -> None:
    """Makes sure that the gate let the caller in, and shows in the document that it asks for a token.

    Raises:
        ProblemError: 401; a route that the gate does not guard was given this by mistake.
    """
    if not hasattr(request.state, "caller"):
        raise ProblemError(401, "a bearer token is needed", headers={"WWW-Authenticate": 'Bearer realm="equipoise"'})


async def _expected(
    if_match: Annotated[
        str | None,
        Header(
            description='The version that the change is meant for, as in `ETag`: `"7"` or `7`. With another version in '
            "force the call is refused with 412. `*` is any.",
            max_length=64,
        ),
    ] = None,
) -> int | None:
    return expected_version(if_match)


Switch = Literal["true", "false", "1", "0", ""]
"""A switch in a query; its bare name is on."""
Boss = Annotated[Supervisor, Depends(_supervisor)]
Expected = Annotated[int | None, Depends(_expected)]


def expected_version(field: str | None) -> int | None:
    """What an If-Match asks for; None when it asks for nothing.

    Anything that is no version of ours matches none: -1. That holds for weak tags too (RFC 9110 13.1.1).
    """
    if field is None or field.strip() == "*":
        return None
    match = _TAG.fullmatch(field.strip())
    return int(match[0].strip('"')) if match else -1


def is_on(switch: Switch) -> bool:
    """What a switch of a query says."""
    return switch in {"true", "1", ""}


def json_response(document: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """The document as JSON; its version, when it has one, is the answer's ETag."""
    fields = dict(headers or {})
    if "version" in document:
        fields["ETag"] = f'"{document["version"]}"'
    return Response(orjson.dumps(document), status, fields, "application/json")


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """For the document: the refusals of a route. Those of the gate are in it always."""
    return {status: _refusal(status) for status in sorted({401, 403, 429, *statuses})}


def writes(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The refusals of a route that changes something."""
    return refusals(408, 409, 412, 413, 422, 507, *statuses)


def _refusal(status: int) -> dict[str, Any]:
    says, detail = _DETAILS[status]
    example: dict[str, Any] = {
        "type": "about:blank",
        "title": title(status),
        "status": status,
        "detail": detail,
    }
    if status == 422:
        example["errors"] = [{"place": "weight", "message": "input should be less than or equal to 1000"}]
    schema = {"$ref": "#/components/schemas/Problem"}
    found: dict[str, Any] = {"description": says, "content": {MEDIA_TYPE: {"schema": schema, "example": example}}}
    if status in _FIELDS:
        name, meaning = _FIELDS[status]
        found["headers"] = {name: {"description": meaning, "schema": {"type": "string"}}}
    return found
