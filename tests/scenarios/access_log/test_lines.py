"""What a line of the access log says about its request."""

import base64
import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.scenarios.conftest import Balance, Lend
from tests.scenarios.support.balancer import Balancer, Setting
from tests.scenarios.support.client import GET, Client, chunked, fetch, get, post
from tests.scenarios.support.polling import eventually
from tests.scenarios.support.stage import Call, Script, Stage, Target, hangs, resets, says, says_and_closes

DEFAULTS = {
    "client": "127.0.0.1",
    "method": "GET",
    "host": "example.org",
    "path": "/",
    "protocol": "HTTP/1.1",
    "status": 200,
    "pool": "default",
    "attempts": 1,
    "bytes_in": 0,
    "bytes_out": 2,
    "body": None,
    "cache": "off",
    "error": None,
}


Lent = Callable[..., tuple[Balancer, Target]]


@pytest.fixture
def lent(lend: Lend) -> Lent:
    """Lends a balancer whose log is empty: each test waits for its own lines, and the log is appended to."""

    def start(script: Script | None = None) -> tuple[Balancer, Target]:
        balancer, target = lend(script)
        (balancer.folder / "access.log").write_bytes(b"")
        return balancer, target

    return start


def only_line(balancer: Balancer) -> dict[str, Any]:
    """The one line, with the fields that every line has checked for their form."""
    (line,) = balancer.access_log(1)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("time"))
    assert re.fullmatch("[0-9a-f]{16}", line.pop("request_id"))
    assert line.pop("duration_ms") > 0
    return line


def answered(line: dict[str, Any], target: str) -> dict[str, Any]:
    """The line of a request that a target answered, without what only such a line has."""
    assert line.pop("upstream_ms") > 0
    assert line.pop("target") == target
    assert line.pop("why")
    return line


def test_a_get(lent: Lent) -> None:
    balancer, target = lent()
    fetch(balancer.port, get("/a/b?c=d&e=%20", "X-Odd: 1"))
    assert answered(only_line(balancer), target.name) == {**DEFAULTS, "path": "/a/b?c=d&e=%20"}


def test_the_id_of_the_request_is_the_one_that_both_sides_saw(lent: Lent) -> None:
    balancer, _ = lent()
    message = fetch(balancer.port, get("/", "X-Request-Id: my-own-7"))
    (line,) = balancer.access_log(1)
    assert line["request_id"] == message.get("x-request-id") == "my-own-7"


def test_a_post_with_a_body_of_text(lent: Lent) -> None:
    balancer, target = lent()
    body = 'naïve "quotes" \\ and\nlines'.encode()
    fetch(balancer.port, post(body))
    expected = {**DEFAULTS, "method": "POST", "bytes_in": len(body), "body": body.decode()}
    assert answered(only_line(balancer), target.name) == expected


def test_a_body_that_is_no_text_is_in_base64(lent: Lent) -> None:
    balancer, target = lent()
    body = b"\xff\xfe\x00binary"
    fetch(balancer.port, post(body))
    line = answered(only_line(balancer), target.name)
    assert line == {
        **DEFAULTS,
        "method": "POST",
        "bytes_in": len(body),
        "body_base64": base64.b64encode(body).decode(),
    }


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_body_over_the_limit_is_truncated_and_says_so(stage: Stage, balance: Balance, framing: str) -> None:
    balancer = balance([stage.target()], Setting(log='path = "access.log"\nbody_limit = 10'))
    body = b"0123456789and more"
    if framing == "length":
        fetch(balancer.port, post(body))
    else:
        fetch(balancer.port, get("/", "Transfer-Encoding: chunked") + chunked(body[:4], body[4:]))
    line = only_line(balancer)
    # What frames a chunked body does not count.
    assert line["body"] == "0123456789"
    assert line["body_truncated"] is True
    assert line["bytes_in"] == len(body)


def test_a_body_is_not_cut_in_the_middle_of_a_character(stage: Stage, balance: Balance) -> None:
    balancer = balance([stage.target()], Setting(log='path = "access.log"\nbody_limit = 3'))
    fetch(balancer.port, post("aéé".encode()))
    line = only_line(balancer)
    assert (line["body"], line["body_truncated"], line.get("body_base64")) == ("aé", True, None)
    fetch(balancer.port, post("aaéé".encode()))
    line = balancer.access_log(2)[1]
    assert (line["body"], line["body_truncated"], line.get("body_base64")) == ("aa", True, None)


def test_bodies_are_not_logged_when_the_limit_is_zero(stage: Stage, balance: Balance) -> None:
    balancer = balance([stage.target()], Setting(log='path = "access.log"\nbody_limit = 0'))
    fetch(balancer.port, post(b"secret"))
    line = only_line(balancer)
    assert line["body"] is None
    assert line["bytes_in"] == 6


def test_an_own_answer_has_no_target_and_names_its_error(stage: Stage, balance: Balance) -> None:
    balancer = balance([])
    message = fetch(balancer.port)
    line = only_line(balancer)
    assert (line["status"], line["target"], line["upstream_ms"], line["attempts"]) == (503, None, None, 0)
    assert line["error"].startswith("no_target")
    assert line["bytes_out"] == len(message.body)
    assert stage.targets == []


@pytest.mark.parametrize(
    ("request_", "status", "error"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400, "malformed (downstream): missing Host"),
        (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414, "malformed"),
    ],
)
def test_a_request_that_was_refused_is_logged(lent: Lent, request_: bytes, status: int, error: str) -> None:
    balancer, _ = lent()
    fetch(balancer.port, request_)
    (line,) = balancer.access_log(1)
    assert (line["status"], line["target"], line["client"]) == (status, None, "127.0.0.1")
    assert line["error"].startswith(error)


def test_a_retry_is_counted(stage: Stage, balance: Balance) -> None:
    bad, good = stage.target(resets), stage.target()
    balancer = balance([bad, good], Setting(pool="health.passive.enabled = false"))
    while not bad.requests:
        fetch(balancer.port)
    line = balancer.access_log(len(good.requests))[-1]
    assert (line["attempts"], line["target"], line["status"]) == (2, good.name, 200)


@pytest.mark.parametrize(
    ("script", "status", "kinds"),
    [
        (resets, 502, {"reset (upstream)", "closed_early (upstream)"}),
        (says_and_closes(), 502, {"closed_early (upstream)"}),
        (says(b"nonsense\r\n\r\n"), 502, {"malformed (upstream)"}),
        (hangs, 504, {"response_timeout (upstream)"}),
    ],
    ids=["reset", "closed", "malformed", "timeout"],
)
def test_a_target_s_failure_names_its_kind_and_side(
    stage: Stage, balance: Balance, script: Script, status: int, kinds: set[str]
) -> None:
    balancer = balance([stage.target(script)], Setting(more='[limits]\nresponse_timeout = "200ms"'))
    assert fetch(balancer.port, GET.replace(b"GET", b"POST")).status == status
    line = only_line(balancer)
    assert line["status"] == status
    assert line["error"] in kinds


def test_a_client_that_left_is_499_and_nobody_s_failure(stage: Stage, balance: Balance) -> None:
    target = stage.target(hangs)
    balancer = balance([target])
    client = Client(balancer.port).send(GET)
    eventually(lambda: target.in_flight)
    client.close()
    line = only_line(balancer)
    assert (line["status"], line["error"]) == (499, "client_left (downstream)")
    assert balancer.find("target down") == []


def test_an_answer_that_broke_off_keeps_its_status_and_names_the_error(stage: Stage, balance: Balance) -> None:
    balancer = balance([stage.target(says_and_closes(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"))])
    with Client(balancer.port) as client:
        client.send(GET)
        client.rest()
    line = only_line(balancer)
    assert (line["status"], line["error"], line["bytes_out"]) == (200, "closed_early (upstream)", 4)


def test_headers_are_logged_when_asked_for_and_secrets_are_hidden(stage: Stage, balance: Balance) -> None:
    names = (
        'headers = ["User-Agent", "Authorization", "X-Missing", "X-Key"]\nredact_headers = ["authorization", "X-KEY"]'
    )
    log = f'path = "access.log"\n{names}'
    balancer = balance([stage.target()], Setting(log=log))
    fetch(balancer.port, get("/", "user-agent: me/1", "Authorization: Bearer top-secret", "X-Key: top-secret"))
    line = only_line(balancer)
    assert line["headers"]["user-agent"] == "me/1"
    assert set(line["headers"]) == {"user-agent", "authorization", "x-key"}
    assert "top-secret" not in (balancer.folder / "access.log").read_text()


def test_a_tunnel_is_logged_when_it_ends(lent: Lent) -> None:
    async def switches(call: Call) -> None:
        await call.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\nabc")
        await call.gone()

    balancer, _ = lent(switches)
    with Client(balancer.port) as client:
        client.ask(get("/", "Connection: Upgrade", "Upgrade: raw"))
        client.send(b"12345")
        client.receive_until(b"abc")
    line = only_line(balancer)
    assert (line["status"], line["bytes_out"]) == (101, 3)
    assert line["error"] is None


def test_every_request_has_its_line(stage: Stage, balance: Balance, scale: int) -> None:
    balancer = balance([stage.target(), stage.target()], Setting(workers=2))
    requests = 100 * scale
    for _ in range(4):
        with Client(balancer.port) as client:
            for number in range(requests // 4):
                client.ask(get(f"/{number}"))
    lines = balancer.access_log(requests)
    assert len(lines) == requests
    assert len({line["request_id"] for line in lines}) == requests
