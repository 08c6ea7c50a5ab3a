"""HTTP/1 and HTTP/2, in whichever pair the two sides speak them: what is said arrives, and means the same."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

import pytest

from tests.scenarios.support.balancer import Balancer, Setting
from tests.scenarios.support.http2_client import BrokenError
from tests.scenarios.support.http2_target import Http2Target
from tests.scenarios.support.messages import ClosedEarlyError
from tests.scenarios.support.pairs import LENGTH, OPEN, UNTIL_CLOSE, Line, Line2, Turn, Turn1, TurnScript, target_of
from tests.scenarios.support.polling import eventually
from tests.scenarios.support.stage import Stage, Target

Connect = Callable[[int, str], Line]
BODY = Random(1).randbytes(300_000)
PAIRS = [("h1", "h1"), ("h2", "h2"), ("h2", "h1"), ("h1", "h2")]


@dataclass
class Pair:
    """A balancer between a client and a target."""

    down: str
    up: str
    balancer: Balancer
    target: Target
    connect: Connect
    script: TurnScript

    def line(self, script: TurnScript | None = None) -> Line:
        """A client's connection; what it asks is answered by this script."""
        self.script = script or answers
        return self.connect(self.balancer.port, self.down)


async def answers(turn: Turn) -> None:
    """200 `ok`."""
    await turn.body()
    await turn.answer(b"ok")


async def echoes(turn: Turn) -> None:
    """The body of the request."""
    await turn.answer(await turn.body())


@pytest.fixture(scope="module", params=PAIRS, ids=lambda pair: f"{pair[0]} to {pair[1]}")
def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """One balancer and one target for all tests of a pair."""
    down, up = request.param
    with Stage() as stage:
        pair: list[Pair] = []

        async def script(turn: Turn) -> None:
            await pair[0].script(turn)

        target = target_of(stage, up, script)
        with Balancer(tmp_path_factory.mktemp("pair"), Setting().text([target.url])) as balancer:
            pair.append(Pair(down, up, balancer, target, _no_connection, answers))
            yield pair[0]


def _no_connection(_port: int, _protocol: str) -> Line:
    raise AssertionError("a test takes `pair`, not `running`")


@pytest.fixture
def pair(running: Pair, connect: Connect) -> Pair:
    """The pair, with nothing on record; clients of it are closed after the test."""
    running.connect = connect
    running.target.requests.clear()
    running.target.received.clear()
    if isinstance(running.target, Http2Target):
        running.target.resets.clear()
    return running


def test_a_request_arrives_with_its_method_target_host_and_fields(pair: Pair) -> None:
    message = pair.line().ask("PURGE", "/a/b%20c?d=e&f", "X-One: 1", "x-many: a", "x-many: b", "cookie: k=v; l=w")
    assert (message.status, message.body) == (200, b"ok")
    request = pair.target.requests[0]
    assert (request.method, request.target, request.get("host")) == ("PURGE", "/a/b%20c?d=e&f", "example.org")
    assert request.get("x-one") == "1"
    assert request.all("x-many") == ["a", "b"]
    assert request.get("cookie") == "k=v; l=w"


def test_the_target_is_told_the_client_the_scheme_and_the_host(pair: Pair) -> None:
    pair.line().ask("GET", "/", "x-forwarded-for: 192.0.2.7")
    request = pair.target.requests[0]
    assert request.get("x-forwarded-for") == "192.0.2.7, 127.0.0.1"
    assert request.get("x-forwarded-proto") == "http"
    assert request.get("x-forwarded-host") == "example.org"
    assert (request.get("via") or "").startswith("2" if pair.down == "h2" else "1.1")
    assert request.get("x-request-id")


def test_the_answer_s_fields_arrive(pair: Pair) -> None:
    async def script(turn: Turn) -> None:
        await turn.answer(b"made", ("x-one", "1"), ("set-cookie", "a=1"), ("set-cookie", "b=2"), status=201)

    message = pair.line(script).ask("GET", "/")
    assert (message.status, message.body) == (201, b"made")
    assert message.get("x-one") == "1"
    assert message.all("set-cookie") == ["a=1", "b=2"]


def test_a_body_by_length_arrives_both_ways(pair: Pair) -> None:
    message = pair.line(echoes).ask("POST", "/", body=BODY)
    assert message.body == pair.target.requests[0].body == BODY
    assert message.get("content-length") == pair.target.requests[0].get("content-length") == str(len(BODY))


@pytest.mark.parametrize("framing", [OPEN, UNTIL_CLOSE])
def test_a_body_of_unknown_length_arrives_both_ways(pair: Pair, framing: str) -> None:
    async def script(turn: Turn) -> None:
        body = await turn.body()
        await turn.head(200, framing=framing)
        for at in range(0, len(body), 70_000):
            await turn.write(body[at : at + 70_000])
        await turn.end()

    line = pair.line(script)
    line.begin("POST", "/", body=OPEN)
    for at in range(0, len(BODY), 50_000):
        line.write(BODY[at : at + 50_000])
    line.end()
    message = line.answer()
    assert message.body == pair.target.requests[0].body == BODY
    assert pair.target.requests[0].get("content-length") is None
    assert message.get("content-length") is None


def test_an_empty_body_of_unknown_length_arrives(pair: Pair) -> None:
    line = pair.line(echoes)
    line.begin("POST", "/", body=OPEN)
    line.end()
    assert line.answer().body == pair.target.requests[0].body == b""


def test_both_directions_stream_at_once(pair: Pair) -> None:
    """As a conversation: each piece of the answer is caused by a piece of the request."""

    async def script(turn: Turn) -> None:
        await turn.head(200)
        while piece := await turn.read():
            await turn.write(piece.upper())
        await turn.end()

    line = pair.line(script)
    line.begin("POST", "/", body=OPEN)
    assert line.head().status == 200
    for word in [b"one", b"two", b"three"]:
        line.write(word)
        assert line.receive(len(word)) == word.upper()
    line.end()
    pair.balancer.wait_idle()


def test_a_large_body_streams_both_ways_at_once_byte_for_byte(pair: Pair, scale: int) -> None:
    body = Random(2).randbytes(1_000_000 * scale)

    async def script(turn: Turn) -> None:
        await turn.head(200, ("content-length", str(len(body))), framing=LENGTH)
        while piece := await turn.read():
            await turn.write(piece)
        await turn.end()

    line = pair.line(script)
    line.begin("POST", "/", f"content-length: {len(body)}", body=LENGTH)
    if isinstance(line, Line2):
        line.write(body)
        line.end()
        assert line.answer().body == body
        return
    sender = threading.Thread(target=line.write, args=(body,))
    sender.start()
    got = line.answer()
    sender.join()
    assert got.body == body


def test_trailers_arrive_both_ways(pair: Pair) -> None:
    async def script(turn: Turn) -> None:
        await turn.body()
        await turn.head(200, ("trailer", "x-sum"))
        await turn.write(b"body")
        await turn.end(("x-sum", "7"))

    line = pair.line(script)
    line.begin("POST", "/", "te: trailers", "trailer: x-check", body=OPEN)
    line.write(b"something")
    line.end(("x-check", "9"))
    message = line.answer()
    assert (message.body, message.trailers) == (b"body", [("x-sum", "7")])
    assert pair.target.requests[0].trailers == [("x-check", "9")]


def test_early_hints_are_relayed_before_the_answer_is_there(pair: Pair) -> None:
    reached = threading.Event()

    async def script(turn: Turn) -> None:
        await turn.interim(103, ("link", "</style.css>; rel=preload"))
        # The client says by the body's end that it has the hints.
        await turn.body()
        reached.set()
        await turn.answer(b"page")

    line = pair.line(script)
    line.begin("POST", "/", body=OPEN)
    hints = line.interim()
    assert not reached.is_set()
    assert (hints.status, hints.get("link")) == (103, "</style.css>; rel=preload")
    line.end()
    assert line.answer().body == b"page"


def test_continue_is_asked_of_the_target_and_relayed(pair: Pair) -> None:
    async def script(turn: Turn) -> None:
        assert turn.request.get("expect") == "100-continue"
        await turn.interim(100)
        await turn.answer(await turn.body())

    line = pair.line(script)
    line.begin("POST", "/", "expect: 100-continue", "content-length: 5", body=LENGTH)
    assert line.interim().status == 100
    line.write(b"hello")
    line.end()
    assert line.answer().body == b"hello"


@pytest.mark.parametrize("length", ["1000", None])
def test_the_answer_to_head_has_the_fields_and_no_body(pair: Pair, length: str | None) -> None:
    async def script(turn: Turn) -> None:
        if turn.request.method == "HEAD":
            fields = [("content-length", length)] if length else []
            await turn.head(200, *fields, ("etag", '"7"'), framing=LENGTH)
            await turn.end()
        else:
            await turn.answer(b"ok")

    line = pair.line(script)
    message = line.ask("HEAD", "/")
    assert (message.status, message.get("etag"), message.body) == (200, '"7"', b"")
    assert message.get("content-length") == length
    assert line.ask("GET", "/").body == b"ok"


@pytest.mark.parametrize("status", [204, 304])
def test_an_answer_that_has_no_body_ends_with_its_head(pair: Pair, status: int) -> None:
    async def script(turn: Turn) -> None:
        if turn.request.target == "/none":
            await turn.head(status, ("etag", '"7"'), framing=LENGTH)
            await turn.end()
        else:
            await turn.answer(b"ok")

    line = pair.line(script)
    message = line.ask("GET", "/none")
    assert (message.status, message.get("etag"), message.body) == (status, '"7"', b"")
    assert message.get("transfer-encoding") is None
    assert line.ask("GET", "/").body == b"ok"


def test_fields_for_one_connection_stay_on_it(pair: Pair) -> None:
    async def script(turn: Turn) -> None:
        hop = [("connection", "x-hop"), ("x-hop", "1"), ("keep-alive", "timeout=5")] if isinstance(turn, Turn1) else []
        await turn.answer(b"ok", ("x-end", "1"), *hop)

    hop = ["connection: x-hop", "x-hop: 1", "keep-alive: timeout=5"] if pair.down == "h1" else []
    message = pair.line(script).ask("GET", "/", "x-end: 1", *hop)
    for end in (message, pair.target.requests[0]):
        assert end.get("x-end") == "1"
        assert [end.get("x-hop"), end.get("keep-alive")] == [None, None]


def test_an_early_answer_reaches_a_client_that_still_sends(pair: Pair) -> None:
    async def script(turn: Turn) -> None:
        await turn.head(403, ("content-length", "2"), framing=LENGTH)
        await turn.write(b"no")
        await turn.end()
        await turn.gone()

    line = pair.line(script)
    line.begin("POST", "/", body=OPEN)
    line.write(b"some of it")
    assert line.head().status == 403
    line.close()
    pair.balancer.wait_idle()


def test_many_bodies_of_all_sizes_arrive_on_one_connection(pair: Pair) -> None:
    random = Random(3)
    line = pair.line(echoes)
    for size in random.sample([0, 1, 2, 100, 16_383, 16_384, 16_385, 65_534, 65_535, 65_536, 200_000], 11):
        body = random.randbytes(size)
        assert line.ask("PUT", f"/{size}", body=body).body == body


def test_a_client_that_gives_up_is_known_at_the_target(pair: Pair) -> None:
    gone = threading.Event()

    async def script(turn: Turn) -> None:
        await turn.head(200)
        await turn.write(b"begun")
        await turn.gone()
        gone.set()

    line = pair.line(script)
    line.begin("GET", "/")
    assert line.head().status == 200
    line.cancel()
    eventually(gone.is_set)
    pair.balancer.wait_idle()
    if isinstance(pair.target, Http2Target):
        assert [path for path, _ in pair.target.resets] == ["/"]


def test_an_answer_that_breaks_off_is_broken_off_visibly(pair: Pair) -> None:
    async def script(turn: Turn) -> None:
        await turn.body()
        await turn.head(200)
        await turn.write(b"begun")
        await turn.break_off()

    line = pair.line(script)
    line.begin("GET", "/")
    with pytest.raises((BrokenError, ClosedEarlyError, ConnectionResetError)):
        line.answer()
    pair.balancer.wait_idle()


def test_a_target_that_breaks_off_before_it_answers_is_502(pair: Pair) -> None:
    async def script(turn: Turn) -> None:
        await turn.body()
        await turn.break_off()

    message = pair.line(script).ask("POST", "/", body=b"not to be sent again")
    assert message.status == 502
    assert message.get("content-type") == "application/problem+json"
    pair.balancer.wait_idle()


def test_nothing_is_in_flight_afterwards_and_each_request_is_on_the_log(pair: Pair) -> None:
    line = pair.line(echoes)
    for number in range(3):
        line.ask("POST", f"/logged/{number}", body=b"12345")
    pair.balancer.wait_idle()

    def logged() -> list[dict[str, Any]]:
        return [each for each in pair.balancer.access_log() if each["path"].startswith("/logged")]

    lines = eventually(logged, lambda seen: len(seen) == 3)
    assert [(each["path"], each["status"], each["bytes_out"]) for each in lines] == [
        (f"/logged/{number}", 200, 5) for number in range(3)
    ]
    assert {each["protocol"] for each in lines} == {"HTTP/2" if pair.down == "h2" else "HTTP/1.1"}


def test_both_protocols_are_spoken_on_one_port(running: Pair, connect: Connect) -> None:
    running.script = answers
    running.connect = connect
    for protocol in ("h1", "h2", "h1"):
        assert connect(running.balancer.port, protocol).ask("GET", "/").body == b"ok"


def test_a_cookie_that_was_cut_into_crumbs_is_whole_again(pair: Pair) -> None:
    """HTTP/2 may send it so (RFC 9113 8.2.3); a target of HTTP/1 gets one field."""
    crumbs = ["cookie: a=1", "cookie: b=2"] if pair.down == "h2" else ["cookie: a=1; b=2"]
    pair.line().ask("GET", "/", *crumbs)
    cookies = pair.target.requests[0].all("cookie")
    assert "; ".join(cookies) == "a=1; b=2"
    assert pair.up == "h2" or len(cookies) == 1
