"""One client tries to choose what another one gets: the second, clean client never sees the first's influence."""

import json
from collections.abc import Iterator

import pytest

from tests.scenarios.support.balancer import Balancer, Setting
from tests.scenarios.support.client import Client, chunked, fetch, get, post
from tests.scenarios.support.messages import Message
from tests.scenarios.support.stage import Call, Stage, Target, answer

EVIL = "evil-1337"
KEPT = "Cache-Control: max-age=3600"
MODES = {
    "identical": "",
    "narrow": 'key_headers = ["accept"]',
    "rfc9111": 'mode = "rfc9111"',
}
# What names another resource, method or scheme behind the URL, or is reflected by many a target.
HEADERS = [
    "Forwarded",
    "Front-End-Https",
    "X-Forwarded-Host",
    "X-Forwarded-Path",
    "X-Forwarded-Port",
    "X-Forwarded-Prefix",
    "X-Forwarded-Proto",
    "X-Forwarded-Scheme",
    "X-Forwarded-Server",
    "X-Forwarded-SSL",
    "X-Host",
    "X-HTTP-Method",
    "X-HTTP-Method-Override",
    "X-Method-Override",
    "X-Original-Host",
    "X-Original-URL",
    "X-Override-URL",
    "X-Rewrite-URL",
    "X-URL-Scheme",
    "Content-Type",
    "Content-Encoding",
    "Range",
    "If-None-Match",
    "If-Range",
]


async def reflects(call: Call) -> None:
    """A target that tells each client what it heard of it, and lets everybody keep that."""
    body = await call.body()
    seen = [call.request.line.decode("latin-1"), call.request.fields, body.decode("latin-1")]
    await call.send(answer("200 OK", json.dumps(seen).encode(), KEPT))


@pytest.fixture(scope="module", params=sorted(MODES))
def mode(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def cached(
    shared_stage: Stage, mode: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Balancer, Target]]:
    """A balancer of two workers with a cache, before one target. A test says `forget` first, and has its own path."""
    target = shared_stage.target(reflects)
    setting = Setting(workers=2, pool=f"[pools.default.cache]\nenabled = true\n{MODES[mode]}")
    with Balancer(tmp_path_factory.mktemp("cached"), setting.text([target.url])) as balancer:
        yield balancer, target


@pytest.fixture
def balancer(cached: tuple[Balancer, Target]) -> Balancer:
    cached[1].forget(reflects)
    return cached[0]


@pytest.fixture
def target(cached: tuple[Balancer, Target], balancer: Balancer) -> Target:
    del balancer
    return cached[1]


@pytest.fixture
def path(request: pytest.FixtureRequest, mode: str) -> str:
    """Nobody has asked for it before."""
    return f"/{abs(hash((request.node.nodeid, mode)))}"


def assert_clean(balancer: Balancer, *requests: bytes) -> None:
    """Clients that did nothing wrong, over all workers, get what is meant for them."""
    for data in requests:
        for _ in range(6):
            got = fetch(balancer.port, data)
            assert got.status == 200
            assert EVIL.encode() not in got.head + got.body


@pytest.mark.parametrize("name", HEADERS)
def test_a_header_that_is_not_in_the_url(balancer: Balancer, path: str, name: str, mode: str) -> None:
    if mode == "rfc9111" and name == "If-None-Match":
        pytest.skip("HTTP itself says that a 200 is the same whatever the condition was")
    fetch(balancer.port, get(path, f"{name}: {EVIL}"))
    assert_clean(balancer, get(path))


def test_a_header_that_the_key_is_not_narrowed_to(balancer: Balancer, path: str, mode: str) -> None:
    if mode != "identical":
        pytest.skip("the operator or Vary says that it makes no difference")
    fetch(balancer.port, get(path, f"X-Anything: {EVIL}"))
    assert_clean(balancer, get(path))


def test_a_get_with_a_body(balancer: Balancer, path: str) -> None:
    fetch(balancer.port, post(EVIL.encode(), method="GET", path=path))
    assert_clean(balancer, get(path))


def test_a_post(balancer: Balancer, path: str) -> None:
    fetch(balancer.port, post(EVIL.encode(), path=path))
    assert_clean(balancer, get(path), post(b"", path=path), post(b"other", path=path))


def test_a_port_in_the_host(balancer: Balancer, path: str) -> None:
    fetch(balancer.port, get(path).replace(b"example.org", f"example.org:{EVIL[-4:]}".encode()))
    for _ in range(6):
        assert b"1337" not in fetch(balancer.port, get(path)).body.replace(path.encode(), b"")


@pytest.mark.parametrize("host", [f"{EVIL}.example.org", f"example.org.{EVIL}"])
def test_another_host(balancer: Balancer, path: str, host: str) -> None:
    fetch(balancer.port, get(path).replace(b"example.org", host.encode()))
    assert_clean(balancer, get(path))


def test_a_host_in_the_request_line(balancer: Balancer, path: str) -> None:
    fetch(balancer.port, get(f"http://{EVIL}.example.org{path}"))
    assert_clean(balancer, get(path))


def test_no_host(balancer: Balancer, path: str) -> None:
    with Client(balancer.port) as client:
        assert client.ask(f"GET {path} HTTP/1.0\r\n\r\n".encode()).status == 200
    assert b"example.org" in fetch(balancer.port, get(path)).body


@pytest.mark.parametrize("other", ["/%41", "//A", "/./A", "/x/../A", "/A?", "/A?a", "/A;a", "/a", "/A/", "/A#f"])
def test_a_path_that_a_target_may_take_for_another(balancer: Balancer, path: str, other: str) -> None:
    """Nobody but the target knows which ones are the same, so none are."""
    fetch(balancer.port, get(path + other, "Cookie: x"))
    got = fetch(balancer.port, get(path + "/A", "Cookie: x"))
    assert json.loads(got.body)[0] == f"GET {path}/A HTTP/1.1"


@pytest.mark.parametrize("status", ["400 Bad Request", "403 Forbidden", "431 Too Large", "414 Too Long", "500 Oops"])
def test_an_error_that_the_request_provoked(balancer: Balancer, target: Target, path: str, status: str) -> None:
    """Cache-poisoned denial of service: an oversize or a meta character, which only the target refuses."""

    async def refuses(call: Call) -> None:
        if call.request.get("x-oversize"):
            await call.send(answer(status, EVIL.encode(), KEPT))
        else:
            await reflects(call)

    target.script = refuses
    assert fetch(balancer.port, get(path, f"X-Oversize: {'x' * 7000}")).status == int(status[:3])
    assert_clean(balancer, get(path))


def test_what_is_refused_here_is_not_kept(balancer: Balancer, path: str) -> None:
    assert fetch(balancer.port, get(path, f"X: {'x' * 70_000}")).status == 431
    assert fetch(balancer.port, get(path, "X: \x00")).status == 400
    assert_clean(balancer, get(path))


@pytest.mark.parametrize(
    "field",
    [
        f"Set-Cookie: session={EVIL}",
        "Vary: *",
        "Vary: X-Request-Id",
        "Cache-Control: no-store",
        "Cache-Control: private",
    ],
)
def test_an_answer_for_one_client_alone(balancer: Balancer, target: Target, path: str, field: str) -> None:
    """The target answers the first client only so; cache deception asks for it under a harmless name."""

    async def answers(call: Call) -> None:
        if call.request.get("cookie") is None:
            await reflects(call)
        else:
            await call.send(answer("200 OK", EVIL.encode(), field))

    target.script = answers
    path += "/account.css"
    # The clean clients send the same, but for what tells the target who they are.
    assert fetch(balancer.port, get(path, "Cookie: session=1")).body == EVIL.encode()
    assert_clean(balancer, get(path))
    target.script = reflects
    assert_clean(balancer, get(path, "Cookie: session=1"))


def test_an_answer_to_credentials(balancer: Balancer, path: str) -> None:
    assert EVIL.encode() in fetch(balancer.port, get(path, f"Authorization: Bearer {EVIL}")).body
    assert_clean(balancer, get(path), get(path, "Authorization: Bearer other"))


def test_a_part_does_not_pass_for_the_whole(balancer: Balancer, target: Target, path: str) -> None:
    async def serves_parts(call: Call) -> None:
        if call.request.get("range") is None:
            await call.send(answer("200 OK", b"the whole", KEPT))
        elif "=0" in str(call.request.get("range")):
            await call.send(answer("206 Partial Content", b"the", KEPT, "Content-Range: bytes 0-2/9"))
        else:
            # nginx CVE-2017-7529 and its like: what a target makes of a strange range is not for others.
            await call.send(answer("200 OK", EVIL.encode(), KEPT, "Content-Range: bytes -1-2/9"))

    target.script = serves_parts
    fetch(balancer.port, get(path, "Range: bytes=0-2"))
    fetch(balancer.port, get(path, "Range: bytes=-17208,-9223372036854758792"))
    for _ in range(6):
        assert fetch(balancer.port, get(path)).body == b"the whole"


def test_an_answer_to_head_does_not_pass_for_one_to_get(balancer: Balancer, path: str) -> None:
    with Client(balancer.port) as client:
        assert client.ask(get(path).replace(b"GET", b"HEAD")).body == b""
    for _ in range(6):
        assert json.loads(fetch(balancer.port, get(path)).body)[0] == f"GET {path} HTTP/1.1"


def test_another_method_in_a_header_or_in_the_line(balancer: Balancer, target: Target, path: str) -> None:
    async def heeds(call: Call) -> None:
        method = call.request.get("x-http-method-override") or call.request.method
        await call.body()
        await call.send(answer("200 OK", b"the answer to " + method.encode(), KEPT))

    target.script = heeds
    fetch(balancer.port, get(path, "X-HTTP-Method-Override: DELETE"))
    fetch(balancer.port, get(path).replace(b"GET", b"OPTIONS"))
    for _ in range(6):
        assert fetch(balancer.port, get(path)).body == b"the answer to GET"


def test_an_answer_that_ends_too_early(balancer: Balancer, target: Target, path: str) -> None:
    async def breaks_off(call: Call) -> None:
        await call.send(f"HTTP/1.1 200 OK\r\n{KEPT}\r\nContent-Length: 1000\r\n\r\n{EVIL}".encode())
        call.close()

    target.script = breaks_off
    with Client(balancer.port).send(get(path)) as client:
        client.rest()
    target.script = reflects
    assert_clean(balancer, get(path))


def test_bytes_behind_an_answer(balancer: Balancer, target: Target, path: str) -> None:
    async def adds(call: Call) -> None:
        extra = answer("200 OK", EVIL.encode(), KEPT)
        await call.send(answer("200 OK", b"the answer", KEPT) + extra)

    target.script = adds
    fetch(balancer.port, get(path))
    target.script = reflects
    assert_clean(balancer, get(path), get(path + "/next"))


@pytest.mark.parametrize("body", [b"x" * 50, b"GET /%b HTTP/1.1\r\nHost: x\r\n\r\n" % EVIL.encode()])
@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_the_body_of_a_request_that_was_answered_from_the_cache_is_read(
    balancer: Balancer, path: str, body: bytes, framing: str
) -> None:
    """What is left of it must not become the next request of the connection (Pingora CVE-2025-4366)."""
    data = post(body, path=path, method="QUERY")
    if framing == "chunked":
        head = get(path, "Transfer-Encoding: chunked").replace(b"GET", b"QUERY")
        data = head + chunked(body[:10], body[10:])
    first = fetch(balancer.port, data)
    with Client(balancer.port) as client:
        # All at once, then byte by byte.
        client.send(data + get(path + "/next"))
        second = client.answer("QUERY")
        assert (_is_hit(second), second.body) == (True, first.body)
        assert json.loads(client.answer().body)[0] == f"GET {path}/next HTTP/1.1"
        for at in range(len(data)):
            client.send(data[at : at + 1])
        assert client.answer("QUERY").body == first.body
        assert json.loads(client.ask(get(path + "/next")).body)[0] == f"GET {path}/next HTTP/1.1"


def test_fields_that_the_client_names_as_of_its_connection(balancer: Balancer, path: str) -> None:
    """They do not reach the target, so they choose nothing; those that we add stay."""
    fetch(balancer.port, get(path, f"Connection: Accept, X-Forwarded-For, {EVIL}", f"Accept: {EVIL}"))
    assert_clean(balancer, get(path))


def test_variants_without_end_hide_nothing(balancer: Balancer, target: Target, path: str, mode: str) -> None:
    async def varies(call: Call) -> None:
        names = "Accept" if call.request.get("x-vary") is None else str(call.request.get("x-vary"))
        await call.send(answer("200 OK", str(call.request.get("accept")).encode(), KEPT, f"Vary: {names}"))

    target.script = varies
    for number in range(40):
        fetch(balancer.port, get(path, f"X-Vary: Accept, X-V-{number}", f"Accept: {EVIL}"))
    got = [fetch(balancer.port, get(path, "Accept: a/b")) for _ in range(6)]
    assert {each.body for each in got} == {b"a/b"}
    assert any(_is_hit(each) for each in got), mode


def _is_hit(message: Message) -> bool:
    return "; hit" in str(message.get("cache-status"))
