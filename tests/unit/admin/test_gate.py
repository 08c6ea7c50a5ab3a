"""Who gets past the gate, in which order it looks, and what every answer carries."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from equipoise.admin.gate import Clocks, Gate, is_loopback
from tests.unit.admin.parts import Answer, Api, Call, perform
from tests.unit.runtime.parts import ReadableLog

HOST = ("host", "localhost:8081")
WRITE = ("PUT", "/v1/pools/default/algorithm")
BODY = b'{"algorithm": "random"}'


def bearer(token: str) -> tuple[str, str]:
    return "authorization", f"Bearer {token}"


# Tokens and roles


PATHS = ["/v1", "/v1/", "/v1/status", "/v1/nothing", "/v1/pools/nothing/targets", "/v1/events"]
METHODS = ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "TRACE", "BREW"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", METHODS)
def test_without_a_token_everything_under_v1_is_refused_alike(api: Api, method: str, path: str) -> None:
    answer = api.ask(method, path, role="")
    assert answer.status == 401
    assert answer.get("www-authenticate") == 'Bearer realm="equipoise"'
    if method != "HEAD":
        assert answer.detail == "a bearer token is needed"


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/docs", "/redoc", "/openapi.json", "/"])
def test_what_is_public_needs_no_token(api: Api, path: str) -> None:
    assert api.ask("GET", path, role="").status != 401


@pytest.mark.parametrize("role", ["read", "admin"])
def test_both_roles_may_read(api: Api, role: str) -> None:
    assert api.ask("GET", "/v1/status", role=role).status == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "TRACE", "BREW"])
@pytest.mark.parametrize("path", ["/v1/reload", "/v1/nothing", "/v1/pools/nothing/targets"])
def test_the_role_read_may_nothing_else_whatever_there_is(api: Api, method: str, path: str) -> None:
    answer = api.ask(method, path, role="read")
    assert (answer.status, answer.detail) == (403, 'the role "admin" is needed')
    assert answer.get("www-authenticate") == 'Bearer realm="equipoise", error="insufficient_scope", scope="admin"'
    assert api.board.version == 1


@pytest.mark.parametrize("role", ["", "Admin", "root", "read admin"])
def test_a_role_that_does_not_exist_may_nothing(api: Api, role: str) -> None:
    token = api.token(role)
    assert api.call("GET", "/v1/status", [HOST, bearer(token)]).status == 403
    assert api.call("POST", "/v1/reload", [HOST, bearer(token)]).status == 403


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_scheme_is_known_in_any_case(api: Api, scheme: str) -> None:
    assert api.call("GET", "/v1/status", [HOST, ("authorization", f"{scheme} {api.token()}")]).status == 200


@pytest.mark.parametrize(
    "value", ["", "Bearer", "Bearer ", "Basic YTpi", "Token {}", "{}", "Bearer, {}", "Bearer {} {}"]
)
def test_anything_but_one_bearer_token_is_refused(api: Api, value: str) -> None:
    answer = api.call("GET", "/v1/status", [HOST, ("authorization", value.replace("{}", api.token()))])
    assert answer.status == 401
    assert 'error="invalid_token"' in str(answer.get("www-authenticate"))


def test_two_tokens_are_one_too_many(api: Api) -> None:
    assert api.call("GET", "/v1/status", [HOST, bearer(api.token()), bearer(api.token())]).status == 401


def test_a_token_in_the_query_or_a_cookie_opens_nothing(api: Api) -> None:
    assert api.ask("GET", f"/v1/status?access_token={api.token()}", role="").status == 401
    assert api.ask("GET", "/v1/status", role="", cookie=f"token={api.token()}").status == 401


def test_the_client_learns_that_a_token_expired_and_nothing_else(tmp_path: Path) -> None:
    api = Api(tmp_path, clocks=Clocks(wall=lambda: datetime.now(UTC).timestamp() + 3600))
    for token, reason in ((api.token(), "token expired"), (api.token() + "x", "token invalid")):
        answer = api.call("GET", "/v1/status", [HOST, bearer(token)])
        challenge = f'Bearer realm="equipoise", error="invalid_token", error_description="{reason}"'
        assert (answer.status, answer.detail, answer.get("www-authenticate")) == (401, reason, challenge)


def test_the_log_says_why_a_token_was_refused_and_not_which(api: Api) -> None:
    token = api.token() + "x"
    api.call("GET", "/v1/status", [HOST, bearer(token)])
    assert "token refused" in api.board.log.events
    assert token not in api.board.log.stream.getvalue()


def test_metrics_need_a_token_when_they_are_not_public(tmp_path: Path) -> None:
    api = Api(tmp_path, "[admin]\nmetrics_public = false")
    assert api.ask("GET", "/metrics", role="").status == 401
    assert api.ask("GET", "/metrics/", role="").status == 404


# Failures


class Time:
    """Clocks that a test sets."""

    def __init__(self) -> None:
        self.now = 0.0
        self.clocks = Clocks(steady=lambda: self.now)


def test_calls_without_a_token_are_limited_for_each_address(tmp_path: Path) -> None:
    time = Time()
    api = Api(tmp_path, clocks=time.clocks)
    statuses = [api.ask("GET", "/v1/status", role="").status for _ in range(201)]
    assert statuses == [401] * 200 + [429]
    limited = api.ask("GET", "/v1/status", role="")
    assert (limited.get("retry-after"), limited.detail) == ("1", "too many calls from there without a valid token")
    assert api.perform(Call("GET", "/v1/status", [HOST], client="127.0.0.2")).status == 401
    time.now = 1.0
    assert [api.ask("GET", "/v1/status", role="").status for _ in range(21)] == [401] * 20 + [429]


def test_a_valid_token_is_never_limited(tmp_path: Path) -> None:
    api = Api(tmp_path, clocks=Time().clocks)
    while api.ask("GET", "/v1/status", role="").status == 401:
        pass
    assert api.ask("GET", "/v1/status").status == 200


# Host


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST:9", "127.0.0.1", "127.0.0.1:8081", "127.8.9.1:1", "[::1]", "[::1]:8081"],
)
def test_on_loopback_this_machine_may_be_asked_for_at_any_port(api: Api, host: str) -> None:
    assert api.ask("GET", "/healthz", role="", host=host).status == 200


@pytest.mark.parametrize(
    "host",
    ["", "evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.1:8081", "[::2]", "::1", "[", "0"],
)
def test_on_loopback_another_host_is_refused_before_anything_else(api: Api, host: str) -> None:
    for path in ("/healthz", "/", "/v1/status", "/nothing"):
        assert api.ask("GET", path, host=host).status == 421


def test_two_hosts_must_both_be_this_machine(api: Api) -> None:
    assert api.call("GET", "/healthz", [("host", "localhost"), ("host", "evil.example")]).status == 421


def test_http_1_0_without_a_host_is_served(api: Api) -> None:
    assert api.call("GET", "/healthz", []).status == 200


def test_on_another_address_any_host_may_be_asked_for(tmp_path: Path) -> None:
    api = Api(tmp_path, '[admin]\nlisten = "0.0.0.0:8081"')
    assert api.ask("GET", "/healthz", role="", host="balancer.example").status == 200


@pytest.mark.parametrize(("host", "local"), [("::1", True), ("127.0.0.2", True), ("0.0.0.0", False), ("a", False)])
def test_loopback_is_what_only_this_machine_reaches(host: str, local: bool) -> None:
    assert is_loopback(host) is local


# Bodies


@pytest.fixture
def small(tmp_path: Path) -> Api:
    """The admin API for bodies of at most 1 KiB."""
    return Api(tmp_path, '[admin]\nmax_body = "1KiB"')


def test_a_body_of_the_largest_size_is_read_and_a_byte_more_is_not(small: Api) -> None:
    padded = BODY + b" " * (1024 - len(BODY))
    assert small.ask(*WRITE, padded).status == 200
    answer = small.ask(*WRITE, padded + b" ")
    assert (answer.status, answer.detail) == (413, "the body must not be larger than 1024 bytes")
    assert answer.get("connection") == "close"


def test_a_body_that_says_that_it_is_too_large_is_refused_by_that(small: Api) -> None:
    assert small.ask(*WRITE, BODY, content_length="1025").status == 413
    assert small.ask(*WRITE, BODY, content_length="9" * 4000).status == 413


def test_a_body_in_pieces_is_measured_as_it_comes(small: Api) -> None:
    fields = [HOST, bearer(small.token()), ("transfer-encoding", "chunked")]
    assert small.call(*WRITE, fields, BODY[:5], BODY[5:], b" " * 100).status == 200
    assert small.call(*WRITE, fields, *[b" " * 100] * 11).status == 413


def test_a_body_that_no_route_wants_is_measured_too(small: Api) -> None:
    assert small.ask("GET", "/v1/status", b" " * 1025).status == 413
    assert small.ask("POST", "/v1/nothing", b" " * 1025).status == 413


def refuses_to_read(app: Any, call: Call) -> Answer:
    """The answer, from an app that fails when it reads the body."""

    class Unread(Exception):
        pass

    answer = Answer()

    async def receive() -> dict[str, Any]:
        raise Unread

    async def send(message: Any) -> None:
        answer.status = answer.status or message["status"]

    asyncio.run(app(call.scope(), receive, send))
    return answer


@pytest.mark.parametrize("role", ["", "read"])
def test_the_body_of_a_caller_without_the_right_is_not_read(api: Api, role: str) -> None:
    fields = [HOST, *([bearer(api.token(role))] if role else [])]
    assert refuses_to_read(api.app, Call(*WRITE, fields)).status in {401, 403}


def test_a_body_that_is_too_large_is_not_asked_for(small: Api) -> None:
    fields = [HOST, bearer(small.token()), ("content-length", "2000"), ("expect", "100-continue")]
    assert refuses_to_read(small.app, Call(*WRITE, fields)).status == 413


def test_a_client_that_leaves_within_its_body_has_asked_for_nothing(api: Api) -> None:
    async def leave() -> None:
        messages: list[dict[str, Any]] = [
            {"type": "http.request", "body": BODY, "more_body": True},
            {"type": "http.disconnect"},
        ]

        async def receive() -> dict[str, Any]:
            return dict(messages.pop(0))

        async def send(_message: Any) -> None:
            pass

        await api.app(Call(*WRITE, [HOST, bearer(api.token())]).scope(), receive, send)

    asyncio.run(leave())
    assert api.board.edits == []


def test_a_body_that_does_not_come_is_given_up(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("equipoise.admin.gate.BODY_TIMEOUT", 0.05)
    answer = Answer()

    async def receive() -> dict[str, Any]:
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Any) -> None:
        answer.status = answer.status or message["status"]

    asyncio.run(api.app(Call(*WRITE, [HOST, bearer(api.token())]).scope(), receive, send))
    assert answer.status == 408


# Answers


@pytest.mark.parametrize("path", ["/v1/status", "/healthz", "/nothing", "/v1/nothing", "/docs", "/openapi.json", "/"])
@pytest.mark.parametrize("role", ["admin", ""])
def test_every_answer_keeps_browsers_from_guessing_framing_and_leaking(api: Api, path: str, role: str) -> None:
    answer = api.ask("GET", path, role=role)
    assert answer.get("x-content-type-options") == "nosniff"
    assert answer.get("x-frame-options") == "DENY"
    assert answer.get("referrer-policy") == "no-referrer"
    assert "frame-ancestors 'none'" in str(answer.get("content-security-policy"))
    names = [name.lower() for name, _ in answer.fields]
    assert len(names) == len(set(names))


def test_answers_of_the_api_are_kept_by_nobody(api: Api) -> None:
    for role in ("admin", ""):
        assert api.ask("GET", "/v1/status", role=role).get("cache-control") == "no-store"


def test_the_documentation_may_load_from_here_and_nowhere_else(api: Api) -> None:
    policy = str(api.ask("GET", "/docs", role="").get("content-security-policy"))
    assert policy.startswith("default-src 'self';")
    assert "http" not in policy


@pytest.mark.parametrize("path", ["/v1/status", "/healthz", "/nothing", "/docs"])
def test_head_is_answered_like_get_without_a_body(api: Api, path: str) -> None:
    head, get = api.ask("HEAD", path), api.ask("GET", path)
    assert (head.status, head.fields, head.body) == (get.status, get.fields, b"")


def test_head_of_a_stream_ends(api: Api) -> None:
    answer = api.ask("HEAD", "/v1/events")
    assert (answer.status, answer.body) == (200, b"")


def broken(started: bool) -> tuple[ReadableLog, Callable[[Path], Gate]]:
    log = ReadableLog()

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        if started:
            await send({"type": "http.response.start", "status": 200, "headers": []})
        raise RuntimeError("the secret is 42")

    return log, lambda folder: Gate(app, Api(folder).config, log)


def test_an_exception_that_nobody_expected_is_a_500_without_its_text(tmp_path: Path) -> None:
    log, make = broken(started=False)
    answer = asyncio.run(perform(make(tmp_path), Call("GET", "/healthz")))
    assert (answer.status, answer.detail) == (500, "this is a defect; the log says more")
    assert b"42" not in answer.body
    assert "the secret is 42" in str(log.lines)


def test_an_exception_after_the_answer_began_is_logged_and_adds_nothing(tmp_path: Path) -> None:
    log, make = broken(started=True)
    answer = asyncio.run(perform(make(tmp_path), Call("GET", "/healthz"), leaves=True))
    assert (answer.status, answer.body) == (200, b"")
    assert log.events == ["a call of the admin API broke"]


def test_writes_are_told_with_who_asked_for_them(api: Api) -> None:
    api.ask("GET", "/v1/status")
    api.ask(*WRITE, {"algorithm": "random"})
    api.ask("POST", "/v1/reload", role="read")
    calls = [line for line in api.board.log.lines if line["event"] == "admin call"]
    assert [(call["method"], call["status"], call["subject"], call["client"]) for call in calls] == [
        ("PUT", 200, "test", "127.0.0.1"),
        ("POST", 403, "test", "127.0.0.1"),
    ]
