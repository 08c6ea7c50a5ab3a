"""Every refusal that the admin API knows, over real HTTP; none of them changes anything."""

import socket
from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.scenarios.admin.conftest import Administer
from tests.scenarios.support.admin import Admin
from tests.scenarios.support.polling import PATIENCE
from tests.scenarios.support.stage import Stage

TARGETS = "/v1/pools/default/targets"
ALGORITHM = "/v1/pools/default/algorithm"
URL = {"url": "http://127.0.0.1:9009"}


@pytest.fixture
def admin(shared_admin: Admin) -> Iterator[Admin]:
    """The shared one, which is as it was afterwards."""
    before = shared_admin.done("GET", "/v1/config")
    yield shared_admin
    assert shared_admin.done("GET", "/v1/config") == before


# What is wrong -> method, path, body, fields, role, status, a part of what the client is told.
Case = tuple[str, str, object, dict[str, str], str, int, str]
TABLE: dict[str, Case] = {
    "no token": ("GET", "/v1/status", None, {}, "", 401, "a bearer token is needed"),
    "no token, no such path": ("GET", "/v1/nothing", None, {}, "", 401, "a bearer token is needed"),
    "no token, no such pool": ("GET", "/v1/pools/nothing/targets", None, {}, "", 401, "a bearer token is needed"),
    "no token, bad body": ("POST", TARGETS, b"{", {}, "", 401, "a bearer token is needed"),
    "another scheme": ("GET", "/v1/status", None, {"authorization": "Basic YTpi"}, "", 401, "a bearer token is needed"),
    "no JWT": ("GET", "/v1/status", None, {"authorization": "Bearer x"}, "", 401, "token invalid"),
    "a long token": ("GET", "/v1/status", None, {"authorization": "Bearer " + "x" * 9000}, "", 401, "token invalid"),
    "reader writes": ("PUT", ALGORITHM, {"algorithm": "random"}, {}, "read", 403, 'the role "admin" is needed'),
    "reader writes nonsense": ("POST", TARGETS, b"{", {}, "read", 403, 'the role "admin" is needed'),
    "reader writes to no pool": (
        "DELETE",
        "/v1/pools/x/targets/a",
        None,
        {},
        "read",
        403,
        'the role "admin" is needed',
    ),
    "no such path": ("GET", "/v1/nothing", None, {}, "admin", 404, "nothing at this path"),
    "no such path outside": ("GET", "/nothing", None, {}, "admin", 404, "nothing at this path"),
    "no such pool": ("GET", "/v1/pools/nothing/targets", None, {}, "admin", 404, 'no pool "nothing"'),
    "no such pool, write": ("POST", "/v1/pools/nothing/targets", URL, {}, "admin", 404, 'no pool "nothing"'),
    "no such target": ("GET", f"{TARGETS}/nothing", None, {}, "admin", 404, 'no target "nothing"'),
    "no such target, change": ("PATCH", f"{TARGETS}/x", {"weight": 2}, {}, "admin", 404, 'no target "x"'),
    "no such target, remove": ("DELETE", f"{TARGETS}/x", None, {}, "admin", 404, 'no target "x"'),
    "wrong method": ("DELETE", "/v1/status", None, {}, "admin", 405, "GET, HEAD, OPTIONS"),
    "unknown method": ("BREW", "/v1/status", None, {}, "admin", 405, "GET, HEAD, OPTIONS"),
    "stale": ("PUT", ALGORITHM, {"algorithm": "random"}, {"if_match": '"99"'}, "admin", 412, "the version is 1"),
    "no version": ("POST", "/v1/reload", None, {"if_match": '"x"'}, "admin", 412, "the version is 1"),
    "too large": ("POST", TARGETS, b" " * 65537, {}, "admin", 413, "must not be larger than 65536 bytes"),
    "XML": ("POST", TARGETS, b"<a/>", {"content_type": "application/xml"}, "admin", 415, "application/json"),
    "compressed": ("POST", TARGETS, b"x", {"content_encoding": "gzip"}, "admin", 415, "application/json"),
    "another host": ("GET", "/v1/status", None, {"host": "evil.example"}, "admin", 421, "this machine only"),
    "another host, public": ("GET", "/healthz", None, {"host": "evil.example"}, "", 421, "this machine only"),
    "no body": ("POST", TARGETS, None, {}, "admin", 422, "body: is missing"),
    "no JSON": ("POST", TARGETS, b'{"url": ', {}, "admin", 422, "not valid JSON"),
    "no UTF-8": ("POST", TARGETS, b'{"url": "\xff"}', {}, "admin", 422, "not valid UTF-8"),
    "half a character": ("PUT", ALGORITHM, b'{"algorithm": "\\ud800"}', {}, "admin", 422, "not valid UTF-8"),
    "deep lists": ("POST", TARGETS, b"[" * 60_000, {}, "admin", 422, "nested too deeply"),
    "deep tables": ("POST", TARGETS, b'{"a":' * 12_000, {}, "admin", 422, "nested too deeply"),
    "a field twice": ("POST", TARGETS, b'{"url": "http://a", "url": "http://b"}', {}, "admin", 422, "a field twice"),
    "NaN": ("POST", TARGETS, b'{"url": "http://a", "weight": NaN}', {}, "admin", 422, "holds NaN"),
    "a huge number": ("POST", TARGETS, b'{"weight": %b}' % (b"9" * 60_000), {}, "admin", 422, "too many digits"),
    "a huge exponent": ("POST", TARGETS, b'{"url": "http://a", "weight": 1e999}', {}, "admin", 422, "too large"),
    "unknown field": ("POST", TARGETS, {**URL, "wieght": 1}, {}, "admin", 422, "wieght: unknown field"),
    "out of range": ("POST", TARGETS, {**URL, "weight": 1001}, {}, "admin", 422, "weight: "),
    "wrong type": ("POST", TARGETS, {**URL, "weight": "1"}, {}, "admin", 422, "weight: "),
    "null": ("POST", TARGETS, {**URL, "name": None}, {}, "admin", 422, "name: "),
    "bad URL": ("POST", TARGETS, {"url": "http://a/b"}, {}, "admin", 422, "url: "),
    "bad name": ("POST", TARGETS, {**URL, "name": "a b"}, {}, "admin", 422, "name: "),
    "bad state": ("POST", TARGETS, {**URL, "state": "off"}, {}, "admin", 422, "state: "),
    "bad algorithm": ("PUT", ALGORITHM, {"algorithm": "best"}, {}, "admin", 422, "algorithm: "),
    "no such module": ("PUT", ALGORITHM, {"algorithm": "python:no:No"}, {}, "admin", 422, "algorithm: "),
    "bad switch": ("GET", "/v1/config?file=maybe", None, {}, "admin", 422, "query.file: "),
}


@pytest.mark.parametrize("what", TABLE)
def test_a_call_that_is_wrong_is_refused_with_the_reason(admin: Admin, what: str) -> None:
    method, path, body, fields, role, status, reason = TABLE[what]
    reply = admin.ask(method, path, body, role, **fields)
    assert (reply.status, reason in reply.problem()) == (status, True), reply
    assert reply.fields["x-content-type-options"] == "nosniff"
    assert ("www-authenticate" in reply.fields) is (status in {401, 403})
    assert ("allow" in reply.fields) is (status == 405)
    assert ("errors" in reply.json) is (status == 422)


def test_a_body_that_never_ends_is_not_read_to_its_end(admin: Admin) -> None:
    """Who sends on and on without looking may see the connection end before the answer."""
    with suppress(ConnectionError):
        assert admin.ask("POST", TARGETS, b" " * 50_000_000).status == 413
    assert admin.status()["version"] == 1


def test_a_target_that_exists_is_a_conflict(admin: Admin) -> None:
    target = admin.status()["pools"]["default"]["targets"][0]
    reply = admin.ask("POST", TARGETS, {"url": target["url"]})
    assert (reply.status, "already" in reply.problem()) == (409, True)


def test_a_body_in_chunks_is_measured_as_it_comes(admin: Admin) -> None:
    headers = {**admin.bearer(), "Content-Type": "application/json"}
    fitting = admin.send("PUT", ALGORITHM, headers, iter([b'{"algorithm":', b' "least_in_flight"}']))
    assert fitting.status == 200
    reply = admin.send("PUT", ALGORITHM, headers, iter([b" " * 1024] * 100))
    assert (reply.status, bool(reply.problem())) == (413, True)


def raw(admin: Admin, data: bytes) -> bytes:
    """What comes back for these bytes, until the balancer closes."""
    with socket.create_connection(("127.0.0.1", admin.port), timeout=PATIENCE) as connection:
        connection.sendall(data)
        found = b""
        while piece := connection.recv(65536):
            found += piece
        return found


def test_a_body_that_is_too_large_is_refused_before_it_is_sent(admin: Admin) -> None:
    head = f"PUT {ALGORITHM} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {admin.token()}\r\n"
    answer = raw(admin, f"{head}Content-Length: 100000\r\nExpect: 100-continue\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 413 ")


def test_a_caller_without_the_right_is_refused_before_the_body_is_sent(admin: Admin) -> None:
    head = f"PUT {ALGORITHM} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    answer = raw(admin, f"{head}Content-Length: 30\r\nExpect: 100-continue\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 401 ")


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", id="TLS"),
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", id="no host"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", id="two hosts"),
        pytest.param(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\nhello", id="no length"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 40_000, id="a head of 40 KB"),
        pytest.param(b"GET / HTTP/1.1\r\nHost : localhost\r\n\r\n", id="a space before the colon"),
    ],
)
def test_what_is_no_http_is_answered_400_and_closed(admin: Admin, data: bytes) -> None:
    assert raw(admin, data).startswith(b"HTTP/1.1 400 ")


def test_options_and_head_are_answered(admin: Admin) -> None:
    options = admin.ask("OPTIONS", TARGETS, role="read")
    assert (options.status, options.fields["allow"]) == (204, "GET, POST, HEAD, OPTIONS")
    head, get = (admin.ask(method, "/v1/config", role="read") for method in ("HEAD", "GET"))
    assert (head.status, head.body, head.fields["content-length"]) == (200, b"", str(len(get.body)))
    assert admin.ask("HEAD", "/v1/events", role="read").status == 200


def test_failures_of_one_address_are_limited_and_valid_tokens_are_not(stage: Stage, administer: Administer) -> None:
    admin = administer([stage.target()], workers=1)
    admin.token()
    # As many as the machine makes in a while are more than 200 at once and 20 a second.
    replies = [admin.ask("GET", "/v1/status", role="")]
    while replies[-1].status == 401 and len(replies) < 5000:
        replies.append(admin.ask("GET", "/v1/status", role=""))
    limited = replies[-1]
    assert (limited.status, int(limited.fields["retry-after"]) >= 1, bool(limited.problem())) == (429, True, True)
    assert len(replies) > 200
    assert admin.ask("GET", "/v1/status").status == 200
    assert admin.send("GET", "/healthz", {}).status == 200


def test_a_token_never_reaches_a_log(admin: Admin) -> None:
    token = admin.token()
    admin.ask("GET", f"/v1/status?access_token={token}", role="")
    admin.ask("GET", "/v1/status", role="", authorization=f"Bearer {token}x")
    assert token not in admin.balancer.log_text()
    assert token not in (admin.balancer.folder / "stdout").read_text()


def test_no_refusal_is_a_defect(admin: Admin) -> None:
    assert admin.balancer.find("a call of the admin API broke") == []
