"""Which pool serves a request.

Owns: the match of host and path; the first route that matches wins.
Refuses to know: what a pool is beyond its name.
"""

from mypy_extensions import i64


class Route:
    """One entry of the table: hosts and paths that belong to a pool."""

    def __init__(self, host: bytes, path: bytes, pool: str) -> None:
        """Matches by both.

        Args:
            host: lower case, without port; `*.` in front matches any subdomain; empty matches all.
            path: prefix of the request's path.
            pool: name of the pool.
        """
        self.host = host
        self.path = path
        self.pool = pool

    def matches(self, host: bytes, path: bytes) -> bool:
        """Whether a request belongs here.

        Args:
            host: of the request, lower case, without port.
            path: of the request, without query.
        """
        if not path.startswith(self.path):
            return False
        if not self.host:
            return True
        if self.host[:2] == b"*.":
            return host.endswith(self.host[1:])
        return host == self.host


class Router:
    """All routes of a snapshot."""

    def __init__(self, routes: list[Route], only: str | None) -> None:
        """Takes the routes in the order of the file.

        Args:
            routes: may be empty.
            only: the pool that serves everything when there are no routes.
        """
        self.routes = routes
        self.only = only

    def match(self, host: bytes | None, target: bytes) -> str | None:
        """The name of the pool for a request; none when no route matches.

        Args:
            host: the request's Host, with its port.
            target: the request's target in origin form, with its query.
        """
        if not self.routes:
            return self.only
        name = strip_port(host).lower() if host is not None else b""
        query: i64 = target.find(b"?")
        path = target if query < 0 else target[:query]
        for route in self.routes:
            if route.matches(name, path):
                return route.pool
        return None


def strip_port(host: bytes) -> bytes:
    """The host of an authority: `example.org:80` and `[::1]:80` without their ports."""
    colon = host.rfind(b":")
    if colon < 0 or host.endswith(b"]"):
        return host
    return host[:colon]
