"""Which pool serves a request."""

import pytest

from equipoise.policy.routing import Route, Router, strip_port

TABLE = Router(
    [
        Route(b"api.example.org", b"/v2", "v2"),
        Route(b"api.example.org", b"/", "v1"),
        Route(b"*.example.org", b"/", "any"),
        Route(b"", b"/static/", "static"),
        Route(b"[::1]", b"/", "local"),
    ],
    None,
)


@pytest.mark.parametrize(
    ("host", "target", "pool"),
    [
        (b"api.example.org", b"/v2/users", "v2"),
        (b"api.example.org", b"/v1/users", "v1"),
        (b"API.Example.ORG", b"/v2", "v2"),
        (b"api.example.org:8080", b"/v2", "v2"),
        (b"api.example.org", b"/?x=/v2", "v1"),
        (b"api.example.org", b"/v2?x=1", "v2"),
        (b"www.example.org", b"/", "any"),
        (b"a.b.example.org", b"/", "any"),
        (b"example.org", b"/", None),
        (b"notexample.org", b"/", None),
        (b"example.org", b"/static/x.css", "static"),
        (b"example.org", b"/statics", None),
        # As they were sent: nobody is led elsewhere by what another reader may take for the same.
        (b"example.org", b"/%73tatic/x.css", None),
        (b"example.org", b"//static/x.css", None),
        (b"example.org", b"/a/../static/x.css", None),
        (b"example.org", b"/static/%2e%2e/secret", "static"),
        (b"[::1]:8080", b"/", "local"),
        (b"[::1]", b"/", "local"),
        (None, b"/static/", "static"),
        (None, b"/", None),
        (b"api.example.org", b"*", None),
    ],
)
def test_the_first_route_that_matches_wins(host: bytes | None, target: bytes, pool: str | None) -> None:
    assert TABLE.match(host, target) == pool


def test_the_order_of_the_routes_decides() -> None:
    router = Router([Route(b"", b"/", "first"), Route(b"x", b"/", "second")], None)
    assert router.match(b"x", b"/") == "first"


def test_without_routes_everything_goes_to_the_only_pool() -> None:
    assert Router([], "web").match(b"any", b"/thing") == "web"


def test_without_routes_and_with_several_pools_nothing_matches() -> None:
    assert Router([], None).match(b"any", b"/thing") is None


def test_with_routes_the_only_pool_serves_what_they_match_and_no_more() -> None:
    assert Router([Route(b"x", b"/", "web")], "web").match(b"y", b"/") is None


@pytest.mark.parametrize(
    ("authority", "host"),
    [(b"x", b"x"), (b"x:80", b"x"), (b"[::1]", b"[::1]"), (b"[::1]:80", b"[::1]"), (b"", b""), (b"x:", b"x")],
)
def test_a_host_is_without_its_port(authority: bytes, host: bytes) -> None:
    assert strip_port(authority) == host
