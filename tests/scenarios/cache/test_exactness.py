"""Whatever two requests differ in, each gets its own answer: from clients through the balancer to a target and back."""

import json
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.scenarios.support.balancer import Balancer, Setting
from tests.scenarios.support.client import Client
from tests.scenarios.support.stage import Call, Stage, answer

KEPT = "Cache-Control: max-age=3600"
# What the balancer adds, and what it writes anew.
ADDED = frozenset(("x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "via", "x-request-id", "content-length"))
# Bytes that every hop passes on as they are, at every place.
PLAIN = "abcXYZ019-._~"
IN_PATH = PLAIN + "!$&'()*+,;=:@/?"
IN_VALUE = PLAIN + " !#$%&'()*+,/:;<=>?@[]^_`{|}\"\\\t"
NAMES = ("x-a", "x-b", "accept", "cookie", "user-agent", "content-type")

Request = tuple[str, str, tuple[tuple[str, str], ...], bytes]


async def reflects(call: Call) -> None:
    """The answer is the request."""
    body = await call.body()
    heard = call.request
    fields = sorted((name, value) for name, value in heard.fields if name not in ADDED)
    seen = [heard.method, heard.target, fields, body.decode("latin-1")]
    names = ", ".join(name for name in NAMES)
    await call.send(answer("200 OK", json.dumps(seen).encode(), KEPT, f"Vary: {names}"))


@pytest.fixture(scope="module", params=["", 'mode = "rfc9111"', f"key_headers = {json.dumps(list(NAMES))}"])
def port(
    request: pytest.FixtureRequest, shared_stage: Stage, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[int]:
    """Of a balancer with a cache in each mode, with two workers."""
    target = shared_stage.target(reflects)
    setting = Setting(workers=2, pool=f"[pools.default.cache]\nenabled = true\n{request.param}")
    with Balancer(tmp_path_factory.mktemp("exact"), setting.text([target.url])) as balancer:
        yield balancer.port


def raw(request: Request) -> bytes:
    method, path, fields, body = request
    lines = [f"{method} {path} HTTP/1.1", "Host: example.org", *(f"{name}: {value}" for name, value in fields)]
    lines += [f"Content-Length: {len(body)}"] if body else []
    return "\r\n".join([*lines, "", ""]).encode() + body


def expected(request: Request) -> object:
    method, path, fields, body = request
    seen = sorted([("host", "example.org"), *fields])
    return [method, path, [list(pair) for pair in seen], body.decode("latin-1")]


def got(port: int, request: Request) -> object:
    with Client(port) as client:
        message = client.ask(raw(request))
    assert message.status == 200
    return json.loads(message.body)


VALUES = st.text(IN_VALUE, min_size=1, max_size=6).map(lambda text: text.strip(" \t")).filter(bool)
REQUESTS = st.tuples(
    st.sampled_from(["GET", "POST", "QUERY"]),
    st.text(IN_PATH, max_size=8).map(lambda text: "/" + text),
    st.lists(st.tuples(st.sampled_from(NAMES), VALUES), max_size=3, unique_by=lambda pair: pair[0]).map(tuple),
    st.binary(max_size=6),
)


@st.composite
def neighbours(draw: st.DrawFn) -> tuple[Request, Request]:
    """Two requests that differ in one byte: of the path, a field's value, or the body."""
    method, path, fields, body = draw(REQUESTS)
    where = draw(st.sampled_from(["path", "value", "body", "boundary"]))
    if where == "value" and fields:
        at = draw(st.integers(0, len(fields) - 1))
        name, value = fields[at]
        place = draw(st.integers(0, len(value) - 1))
        new = draw(st.sampled_from(PLAIN).filter(lambda c: c != value[place]))
        changed = (*fields[:at], (name, value[:place] + new + value[place + 1 :]), *fields[at + 1 :])
        return (method, path, fields, body), (method, path, changed, body)
    if where == "body":
        place = draw(st.integers(0, len(body)))
        byte = draw(st.binary(min_size=1, max_size=1))
        return (method, path, fields, body), (method, path, fields, body[:place] + byte + body[place:])
    if where == "boundary" and fields:
        # The same bytes, cut elsewhere: between a value and the body.
        name, value = fields[-1]
        moved = (*fields[:-1], (name, value + "x"))
        return (method, path, moved, body), (method, path, fields, b"x" + body)
    place = draw(st.integers(1, len(path)))
    letter = draw(st.sampled_from(IN_PATH))
    return (method, path, fields, body), (method, path[:place] + letter + path[place:], fields, body)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(neighbours())
def test_requests_that_differ_in_a_byte_share_no_answer(port: int, pair: tuple[Request, Request]) -> None:
    one, other = pair
    for request in (one, other, other, one):
        assert got(port, request) == expected(request)
