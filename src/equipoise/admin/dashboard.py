"""The dashboard's files over HTTP: a page, its style and its scripts, and nothing from anywhere else.

Owns: which files there are, their types, what a browser may keep, and what the page is allowed to load.
Refuses to know: what the page shows; it speaks to the admin API like any other client, with its own token.

The third-party scripts are no part of the repository: the build brings them in (dashboard/vendor.py). Where it could
not, the page is one that says how to get them.
"""

import hashlib
import mimetypes
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec
from fastapi import FastAPI, Request
from fastapi.responses import PlainTextResponse, Response

STATIC: Final = Path(__file__).parent / "static"
PAGE: Final = "index.html"
MISSING: Final = "missing.html"
# The build writes it when all third-party files are in place.
VENDOR_MANIFEST: Final = "vendor/manifest.json"

# Not what the operating system's table of types happens to say: a script of the wrong type does not run.
TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}
# Everything from here and nothing inline: a target's name that holds markup stays a name, and no token leaves.
HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Kept, but asked for again each time: after an upgrade no browser mixes files of two versions.
    "Cache-Control": "no-cache",
}


class Asset(msgspec.Struct, frozen=True):
    """A file as it is served; `etag` is quoted, as the field wants it."""

    body: bytes
    media_type: str
    etag: str


def mount(app: FastAPI, folder: Path = STATIC) -> None:
    """Serve the dashboard: GET / and GET /assets/..., both without a token, since they hold no data.

    The files are read once, here, so no request ever reaches the file system.

    Args:
        app: what serves the admin API.
        folder: where the files lie.
    """
    assets = load(folder)
    complete = VENDOR_MANIFEST in assets
    page = assets[PAGE if complete else MISSING]

    async def root(request: Request) -> Response:
        return answer(request, page, 200 if complete else 501)

    async def asset(request: Request, path: str) -> Response:
        found = assets.get(path)
        if found is None:
            return PlainTextResponse("there is no such file\n", 404, headers=HEADERS)
        return answer(request, found, 200)

    app.add_api_route("/", root, methods=["GET", "HEAD"], include_in_schema=False)
    app.add_api_route("/assets/{path:path}", asset, methods=["GET", "HEAD"], include_in_schema=False)


def load(folder: Path) -> Mapping[str, Asset]:
    """Every file below a folder, by its path from there with slashes."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and not name.startswith("."):
            body = path.read_bytes()
            kind = TYPES.get(path.suffix) or mimetypes.guess_type(name)[0] or "application/octet-stream"
            found[name] = Asset(body, kind, f'"{hashlib.sha256(body).hexdigest()[:32]}"')
    return found


def answer(request: Request, asset: Asset, status: int) -> Response:
    """The file, or 304 when the browser has it already."""
    headers = {**HEADERS, "ETag": asset.etag}
    if status == 200 and matches(request.headers.get("if-none-match", ""), asset.etag):
        return Response(status_code=304, headers=headers)
    return Response(asset.body, status, headers, asset.media_type)


def matches(field: str, etag: str) -> bool:
    """Whether an If-None-Match names this tag (RFC 9110 13.1.2: compared weakly, and `*` names any)."""
    tags = {tag.strip().removeprefix("W/") for tag in field.split(",")}
    return etag in tags or "*" in tags
